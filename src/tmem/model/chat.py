"""A model's chat template, with the differences between families settled once.

Templates differ in ways that matter here: some refuse a system message, some put an empty thinking block or
white space before the answer, and each ends a turn in its own way. That is found by rendering probes, not
by family.

What a message says is text and nothing else: where it spells a control token (the end of a turn, say), its characters
are read, and no turn ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from tmem.errors import ModelError
from tmem.fastweights import Example

Message = dict[str, str]

# Words that no template contains and every template passes through unchanged.
_PROBE = "tmemprobe"
_ANSWER = "tmemanswer"

# Some templates write today's date into the system text, but a write has to be the same on any day. This is
# the day that Llama's own template falls back on. Templates get no functions from outside, so theirs is
# replaced by a macro.
_DAY = date(2024, 7, 26)
_DAY_TEXT = _DAY.strftime("%d %b %Y")
_DATE_MACRO = "{%- macro strftime_now(format) -%}{{ format"
for _code in "dbBYmyaAjHMS":
    _DATE_MACRO += f" | replace('%{_code}', '{_DAY.strftime('%' + _code)}')"
_DATE_MACRO += " }}{%- endmacro %}"


# Stands for a control token that a text spells, by its number: two characters that Unicode leaves to private use.
_MARK = re.compile("\ue0f0([0-9]+)\ue0f1")


class Chat:
    """Messages to tokens and back. Raises :class:`ModelError` for a tokenizer without chat template.

    ``rows``: how many tokens the model has embeddings of; others that the tokenizer has are read as their characters.
    """

    def __init__(self, name: str, tokenizer: PreTrainedTokenizerBase, rows: int | None = None) -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                f"{name}: its tokenizer has no chat template: use an instruction-tuned model "
                "or put a chat_template.jinja beside its tokenizer"
            )
        self.name = name
        self.tokenizer = tokenizer
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            self._backend.no_truncation()
            self._backend.no_padding()
        try:
            self._template = tokenizer.get_chat_template()
        except ValueError:  # several, and none is called default
            names = (
                ", ".join(sorted(tokenizer.chat_template)) if isinstance(tokenizer.chat_template, dict) else "several"
            )
            raise ModelError(
                f"{name}: it has the chat templates {names} and none called default: put the one to use into a "
                "chat_template.jinja beside its tokenizer"
            ) from None
        if "strftime_now" in self._template:
            self._template = _DATE_MACRO + self._template
        added = tokenizer.added_tokens_decoder
        strange = {token.content for number, token in added.items() if rows is not None and number >= rows}
        special = {token.content for token in added.values() if token.special} | strange
        # Others make a turn only where the template uses them, as Qwen's <think>; white space never does.
        used = {token.content for token in added.values() if token.content in self._template}
        self._controls = sorted((text for text in special | used if text.strip()), key=len, reverse=True)
        self._spelled = _any_of(self._controls)
        self._spelled_by_model = _any_of([text for text in self._controls if text in special])

    def literal(self, text: str, by_model: bool = False) -> str:
        """A text whose control tokens will be read as characters; ``by_model``: but for those that replies may have."""
        pattern = self._spelled_by_model if by_model else self._spelled
        if pattern is None:
            return text
        return pattern.sub(lambda found: f"\ue0f0{self._controls.index(found[0])}\ue0f1", text)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text as it stands: control tokens where it spells them, unless it is :meth:`literal`."""
        if "\ue0f0" in text:
            ids, at = list[int](), 0
            for mark in _MARK.finditer(text):
                if int(mark[1]) < len(self._controls):
                    control = self._controls[int(mark[1])]
                    # Cut in two, a control token is none.
                    parts = (text[at : mark.start()], control[0], control[1:])
                    ids, at = ids + [token for part in parts for token in self._encode(part)], mark.end()
            return ids + self._encode(text[at:])
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        if self._backend is None:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
            return ids
        # The same tokens as above, without their places in the text, which nobody asks for: a third faster.
        found: list[int] = self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special tokens and otherwise unchanged."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def encode_chat(self, messages: Sequence[Message], begun: str = "") -> list[int]:
        """The prompt tokens that make the model write the next assistant message, thinking switched off.

        ``begun``: what of that message is already there, for the model to go on from.
        """
        return self.encode(self._prompt(messages) + self.literal(begun, by_model=True))

    def example(self, question: str, answer: str) -> Example:
        """What a write trains on: the prompt of ``question``, then ``answer`` and the end of the turn."""
        prompt, reply = self.reply([{"role": "user", "content": question}], answer)
        return Example(prompt, reply, label=question)

    def reply(self, messages: Sequence[Message], answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens of the prompt, and those of the assistant's next message with the end of its turn."""
        answer = self.literal(answer.strip())
        prompt = self._prompt(messages)
        prompt_ids = self.encode(prompt)
        # Tokenized in its place, because some tokenizers write the start of a text differently from its
        # middle; but the prompt's own tokens have to be those that generation starts from.
        whole = self.encode(prompt + self._answer_lead + answer)
        if whole[: len(prompt_ids)] == prompt_ids:
            answer_ids = whole[len(prompt_ids) :]
        else:
            answer_ids = self.encode(self._answer_lead + answer)
        return tuple(prompt_ids), (*answer_ids, self.end_of_turn)

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an assistant message: the first special one after it, else eos."""
        tail = self._answered_probe.rpartition(_ANSWER)[2]
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        for token in self.encode(tail):
            if token in special:
                return token
        eos = self.tokenizer.eos_token_id
        if not isinstance(eos, int):
            raise ModelError(f"{self.name}: neither its chat template nor its tokenizer says how a turn ends")
        return eos

    @cached_property
    def _answer_lead(self) -> str:
        """White space that the template puts between the prompt and the answer (Mistral: one space)."""
        prompt = self._prompt([{"role": "user", "content": _PROBE}])
        full = self._answered_probe
        lead = full.removeprefix(prompt).rpartition(_ANSWER)[0]
        return lead if full.startswith(prompt) and not lead.strip() else ""

    @cached_property
    def _answered_probe(self) -> str:
        messages = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _ANSWER}]
        return self._render(messages, prompt=False)

    @cached_property
    def _takes_system(self) -> bool:
        """False if the template refuses a system message, or leaves it out without a word."""
        try:
            messages = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "?"}]
            return _PROBE in self._render(messages, prompt=True)
        except ModelError:
            return False

    def _prompt(self, messages: Sequence[Message]) -> str:
        if self._spelled is not None:
            messages = [
                {**message, "content": self.literal(message["content"], message["role"] == "assistant")}
                for message in messages
            ]
        system = [message["content"] for message in messages if message["role"] == "system"]
        if system and not self._takes_system:
            rest = [message for message in messages if message["role"] != "system"]
            if not rest or rest[0]["role"] != "user":
                raise ModelError(f"{self.name}: its chat template takes a system text only before a user message")
            first = {"role": "user", "content": "\n\n".join([*system, rest[0]["content"]])}
            messages = [first, *rest[1:]]
        return self._render(messages, prompt=True)

    def _render(self, messages: Sequence[Message], prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=prompt,
                enable_thinking=False,
                date_string=_DAY_TEXT,
            )
        except TemplateError as error:
            raise ModelError(f"{self.name}: its chat template refuses these messages: {error}") from None
        assert isinstance(text, str)
        return text


def _any_of(texts: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, texts))) if texts else None
