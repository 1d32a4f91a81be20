"""What is asked of an engine, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tmem.errors import DeltaError, UsageError

if TYPE_CHECKING:
    from tmem.fastweights import Delta, FastWeights
    from tmem.model.load import Model

Finish = Literal["stop", "json", "text", "length", "cancelled"]


@dataclass(frozen=True)
class Voices:
    """A second prompt that a memory answers beside the text: the bare question, which nothing but Delta knows more of.

    Every token is chosen by log p_text + ``weight`` (log p_memory - log p_bare): theta_0 reads the request's own
    prompt, theta_0 + Delta and theta_0 this one. So Delta never touches a prompt that holds text, and an empty memory
    changes nothing. A memory that begins with the token ``refusal`` says that it was not told, which proves little
    where there is text: it is heard as (1 - ``doubt``) log p_text + ``doubt`` log p_memory then. ``opens``: the gate
    says that the memory knows of this; engines that cannot mix choose by it.
    """

    prompt_ids: tuple[int, ...]
    weight: float = 0.5
    refusal: int | None = None
    doubt: float = 0.2
    opens: bool = True

    def weights(self, doubted: bool) -> tuple[float, float, float]:
        """What the logarithms of text, memory and bare question count for."""
        return (1 - self.doubt, self.doubt, 0.0) if doubted else (1.0, self.weight, -self.weight)


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; temperature 0 is greedy, ``top_p`` 1 and ``top_k`` 0 keep every token."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Sampling):
    """How a reply is chosen, as callers of a conversation may say; ``max_new_tokens`` None: as the model's settings.

    The other fields are as in :class:`Request`.
    """

    max_new_tokens: int | None = None
    seed: int = 0
    stop_texts: tuple[str, ...] = ()
    schema: str | None = None


@dataclass(frozen=True)
class Request:
    """One text to generate.

    ``memory`` is a row of the Delta, None for the base model; with ``voices`` it answers there, and not in the
    request's own prompt. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 keep every token. ``stop`` ``json``
    also ends the text when its first JSON array closes, and any of ``stop_texts`` ends it, too, and stays in it.
    ``grammar`` forces a JSON array of question-answer pairs, ``schema`` JSON of that schema (both need the extra
    ``json``). ``reads``: it is asked of the model's reader, which no memory takes part in.
    """

    prompt_ids: tuple[int, ...]
    memory: int | None = None
    max_new_tokens: int = 50
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop: Literal["eos", "json"] = "eos"
    stop_texts: tuple[str, ...] = ()
    grammar: bool = False
    schema: str | None = None
    voices: Voices | None = None
    reads: bool = False


Likeliest = tuple[tuple[int, float], ...]  # tokens with their log-probabilities, the likeliest first


@dataclass(eq=False)
class Listener:
    """Who hears a text while it is made: every token as it is chosen, the last one too; :attr:`gone` ends it.

    ``heard`` is told its log-probability too, as of :class:`Completion`, and the ``likeliest`` that stood beside it.
    """

    heard: Callable[[int, float, Likeliest], None]
    likeliest: int = 0  # how many
    gone: bool = False  # set by any thread: nothing more is computed for it


@dataclass(frozen=True)
class Completion:
    """What was generated: ``ids`` with the end-of-turn token if there was one, ``text`` without.

    ``logprobs``, one per id, are log pi(token) under the Delta in force, at temperature 1 and before top-k,
    top-p and grammar: what a policy gradient needs (paper, RL). Empty where an engine elsewhere does not give them.
    """

    ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    finish: Finish


def check(request: Request, model: Model, delta: Delta | None, fast: FastWeights | None) -> None:
    """Raise :class:`UsageError` for a request that cannot work, :class:`DeltaError` for a memory that is not there."""
    if request.voices is not None:
        check(replace(request, prompt_ids=request.voices.prompt_ids, voices=None), model, delta, fast)
    length, new, window = len(request.prompt_ids), request.max_new_tokens, model.window
    if length == 0 or new < 1:
        raise UsageError(f"a request needs a prompt and max_new_tokens of at least 1 (has {length} and {new})")
    if length > window - new:
        raise UsageError(
            f"the prompt has {length} tokens but only {window - new} fit: "
            f"{model.name} has a window of {window} and {new} are kept for the answer"
        )
    if request.temperature < 0 or request.top_k < 0 or not 0 < request.top_p <= 1:
        raise UsageError("a request needs temperature >= 0, top_k >= 0 and 0 < top_p <= 1")
    if request.memory is not None:
        if delta is None or fast is None:
            raise DeltaError("a request names a memory: pass the delta it is in and the fast weights of that delta")
        if not 0 <= request.memory < delta.sessions:
            raise DeltaError(f"there is no memory {request.memory}: the delta holds 0 to {delta.sessions - 1}")
