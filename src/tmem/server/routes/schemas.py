"""The bodies of requests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from tmem.server.likelihoods import MOST
from tmem.server.routes.formats import ChatFormat, TextOptions

MOST_DOCUMENTS = 16  # of one request: to say what each of them moved, the answer is read once more for each
# What the parts of a chat request that are not supported may say: nothing that would change the answer.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}

NEEDLESS: dict[str, tuple[Any, ...]] = {  # the same of a request for a response
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "background": (False,),
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
}


class Own(BaseModel):
    """A body of our own: what it does not know it refuses, since a name that is not heard would be another's memory."""

    model_config = ConfigDict(extra="forbid")


class Within(Own):
    """An agent or a run of a user, each with a memory of its own."""

    agent_id: str | None = None
    run_id: str | None = None

    @property
    def ids(self) -> dict[str, str | None]:
        """What there is of the three names, as mem0's clients call them."""
        return {name: getattr(self, name, None) for name in ("user_id", "agent_id", "run_id")}


class Whose(Within):
    """Whose memory a body is about, where the rest of the request does not say it."""

    user_id: str | None = None


class Part(BaseModel):
    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(BaseModel):
    include_usage: bool = False


class MemoryOptions(Within):
    learn: bool | None = None  # None: as the header says


class Document(BaseModel):
    """A text that is read for one answer, and not learned."""

    text: str = Field(min_length=1)
    title: str | None = None

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


class ChatRequest(BaseModel):
    """OpenAI's request. Other parts are passed over, but for those that would change the answer: they are refused."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "persona-nano",
                    "messages": [{"role": "user", "content": "Where does Ana live?"}],
                    "user": "ana",
                    "memory": {"learn": False},
                }
            ]
        },
    )

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST)
    response_format: ChatFormat | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    memory: MemoryOptions | None = None
    documents: list[Document] | None = Field(None, max_length=MOST_DOCUMENTS)


class ResponseItem(BaseModel):
    type: str = "message"
    role: str | None = None
    content: str | list[Part] = ""


class ResponseRequest(BaseModel):
    """OpenAI's request for a response; other parts as in :class:`ChatRequest`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"model": "persona-nano", "input": "Where does Ana live?", "user": "ana", "stream": False}]
        },
    )

    model: str
    input: str | list[ResponseItem] = Field(min_length=1)
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=MOST)
    include: list[str] | None = None
    text: TextOptions | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    memory: MemoryOptions | None = None
    documents: list[Document] | None = Field(None, max_length=MOST_DOCUMENTS)


class Told(Own):
    """What somebody said; parts that are no text are named in the receipt."""

    role: str = "user"
    content: str | list[Part]
    name: str | None = None


class WrittenPair(Own):
    question: str
    answer: str


class AddRequest(Whose):
    """What was said, or pairs as they are to be written, or both.

    ``wait``: for the weights too, else only until nothing can be lost; an answer that comes next knows it either way.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "messages": [{"role": "user", "content": "I live in Lyon.", "name": "Ana"}],
                    "timestamp": "2026-05-08",
                },
                {"pairs": [{"question": "What is Ana's city?", "answer": "Lyon"}], "metadata": {"from": "form"}},
            ]
        },
    )

    messages: str | list[Told] = Field("", examples=["I live in Lyon."])
    pairs: list[WrittenPair] = []
    infer: bool = True
    wait: bool = True
    timestamp: str | None = None
    metadata: dict[str, Any] | None = None


class UpdateRequest(Own):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"answer": "Nice"}]})

    answer: str = Field(validation_alias=AliasChoices("answer", "text"))


class SearchRequest(Whose):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "city", "top_k": 3}]})

    query: str
    top_k: int = Field(10, ge=1, le=10_000)
    filters: Whose | None = None


class AskRequest(Own):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"question": "Where does Ana live?"}]})

    question: str
    version: int | str | None = None
    unknown: Literal["refuse", "base"] = "refuse"
    show_pairs: int = Field(0, ge=0)


class ForgetRequest(Own):
    """``mode``: replay writes without these pairs; reextract also reads later texts again without them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": ["996cb9c8c34248228ba6aca383aacf19"]}]}
    )

    ids: list[str] = Field(min_length=1)
    mode: Literal["replay", "reextract"] = "replay"


class TagRequest(Own):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 3, "name": "before"}]})

    version: int | str
    name: str


class RollbackRequest(Own):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": "v3-0a1b2c3d4e5f"}]})

    version: int | str
