"""Generating for many memories at once, behind one small protocol.

A request names its own memory, seed and limits, so what it gets does not depend on what else is in the batch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from tmem.errors import DeltaError, UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.model.grammar import PairsGrammar
from tmem.model.jsonstop import JsonStop
from tmem.model.load import Model
from tmem.model.prefill import Memories, Prefill
from tmem.model.sampling import sample

Finish = Literal["stop", "json", "text", "length"]


@dataclass(frozen=True)
class Request:
    """One text to generate.

    ``memory`` is a row of the Delta, None for the base model. ``temperature`` 0 is greedy; ``top_k`` 0 and
    ``top_p`` 1 keep every token. ``stop`` ``json`` also ends the text when its first JSON array closes, and any of
    ``stop_texts`` ends it, too, and stays in it.
    ``grammar`` forces a JSON array of question-answer pairs (needs the extra ``json``).
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


@dataclass(frozen=True)
class Completion:
    """What was generated: ``ids`` with the end-of-turn token if there was one, ``text`` without.

    ``logprobs``, one per id, are log pi(token) under the Delta in force, at temperature 1 and before top-k,
    top-p and grammar: what a policy gradient needs (paper, RL).
    """

    ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    finish: Finish


class Engine(Protocol):
    """Anything that can generate: the loop below, or a server that takes one adapter per request."""

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """One completion per request, in their order. ``progress`` gets the number finished so far."""
        ...


@dataclass(eq=False)
class _Row:
    """A request while it is being generated."""

    index: int
    request: Request
    noise: random.Random  # one uniform per sampled token, so a text depends on its own seed alone
    json: JsonStop | None
    matcher: Any  # llguidance.LLMatcher | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    end: str = ""  # the last characters, as far as a stop text needs them
    finish: Finish | None = None


class HFEngine:
    """A decode loop over transformers' own models and caches.

    ``max_tokens_per_batch`` bounds rows x (longest prompt + longest answer), and so the size of the cache.
    What prompts begin with alike is read once; ``remember``: so many tokens of it stay for later calls (after a write,
    only the layers that see Delta read them again), at the cost of their keys and values.
    """

    def __init__(self, model: Model, max_tokens_per_batch: int = 32_768, remember: int = 0) -> None:
        self.model = model
        self.max_tokens_per_batch = max_tokens_per_batch
        self._prefill = Prefill(model, remember)
        self._pieces: dict[int, str] = {}

    def generate(
        self,
        requests: Sequence[Request],
        delta: Delta | None = None,
        fast: FastWeights | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """See :class:`Engine`. ``fast`` is the fast weights that ``delta`` belongs to.

        Raises :class:`UsageError` for a request that cannot work, such as one longer than the model's window,
        and :class:`DeltaError` for a memory that is not there.
        """
        for request in requests:
            self._check(request, delta, fast)
        completions: dict[int, Completion] = {}
        for rows, common in self._batches(requests, fast):
            for row in self._decode(rows, common, Memories(delta, fast)):
                completions[row.index] = self._complete(row)
                if progress is not None:
                    progress(len(completions))
        self._prefill.trim()
        return [completions[index] for index in range(len(requests))]

    def _check(self, request: Request, delta: Delta | None, fast: FastWeights | None) -> None:
        length, new, window = len(request.prompt_ids), request.max_new_tokens, self.model.window
        if length == 0 or new < 1:
            raise UsageError(f"a request needs a prompt and max_new_tokens of at least 1 (has {length} and {new})")
        if length > window - new:
            raise UsageError(
                f"the prompt has {length} tokens but only {window - new} fit: "
                f"{self.model.name} has a window of {window} and {new} are kept for the answer"
            )
        if request.temperature < 0 or request.top_k < 0 or not 0 < request.top_p <= 1:
            raise UsageError("a request needs temperature >= 0, top_k >= 0 and 0 < top_p <= 1")
        if request.memory is not None:
            if delta is None or fast is None:
                raise DeltaError("a request names a memory: pass the delta it is in and the fast weights of that delta")
            if not 0 <= request.memory < delta.sessions:
                raise DeltaError(f"there is no memory {request.memory}: the delta holds 0 to {delta.sessions - 1}")

    def _batches(self, requests: Sequence[Request], fast: FastWeights | None) -> Iterator[tuple[list[_Row], list[int]]]:
        """Requests of similar length together, so that little is padded, the longest first; those that begin alike
        follow each other. With each batch: how many tokens of each prompt are a beginning that others have, too.
        """
        rows = [self._row(index, request) for index, request in enumerate(requests)]
        common = self._prefill.groups([request.prompt_ids for request in requests], fast)

        def beginning(row: _Row) -> tuple[int, ...]:
            return row.request.prompt_ids[: common[row.index]]

        longest: dict[tuple[int, ...], int] = {}  # by beginning
        for row in rows:
            longest[beginning(row)] = max(len(row.request.prompt_ids), longest.get(beginning(row), 0))

        def order(row: _Row) -> tuple[int, tuple[int, ...], int]:
            length = len(row.request.prompt_ids)
            return -(longest[beginning(row)] if common[row.index] else length), beginning(row), -length

        rows.sort(key=order)
        while rows:
            width = answer = count = 0
            for row in rows:
                answer = max(answer, row.request.max_new_tokens)
                width = max(width, len(row.request.prompt_ids))
                if count and (count + 1) * (width + answer) > self.max_tokens_per_batch:
                    break
                count += 1
            # By memory: rows that share a B lie together.
            batch = sorted(rows[:count], key=lambda row: (beginning(row), _memory(row)))
            yield batch, [common[row.index] for row in batch]
            rows = rows[count:]

    def _row(self, index: int, request: Request) -> _Row:
        return _Row(
            index,
            request,
            noise=random.Random(request.seed),
            json=JsonStop() if request.stop == "json" else None,
            matcher=self._grammar.matcher() if request.grammar else None,
        )

    @cached_property
    def _grammar(self) -> PairsGrammar:
        vocab = self.model.hf.get_output_embeddings().weight.shape[0]
        return PairsGrammar(self.model.tokenizer, vocab, self.model.stop_ids)

    def _complete(self, row: _Row) -> Completion:
        assert row.finish is not None
        text = self.model.decode(row.ids[:-1] if row.finish == "stop" else row.ids)
        if row.finish == "text":  # the last token may hold more than the stop text
            text = text[: max(text.rfind(stop) + len(stop) for stop in row.request.stop_texts if stop in text)]
        return Completion(tuple(row.ids), text, tuple(row.logprobs), row.finish)

    @torch.no_grad()
    def _decode(self, rows: list[_Row], common: list[int], memories: Memories) -> Iterator[_Row]:
        """Generate for one batch; rows come out as they finish and leave the batch and its cache at once.

        The first ``common[i]`` tokens of a prompt are read once for all that begin with them.
        """
        hf, device = self.model.hf, self.model.device
        filled = self._prefill.fill(
            [row.request.prompt_ids for row in rows], common, list(map(_memory, rows)), memories
        )
        cache, positions = filled.cache, filled.positions  # positions (N, 1)
        padded, seen = not bool(filled.mask.all()), filled.mask.shape[1]
        # Room for the mask of every step to come, so that a step only takes a longer slice of it.
        steps = max(row.request.max_new_tokens for row in rows)
        mask = torch.cat([filled.mask, filled.mask.new_ones(len(rows), steps)], dim=1)
        ids = self._step(rows, filled.logits.float())[:, None]  # (N, 1)
        while rows:
            # Hooks are attached once for as long as the batch stays as it is.
            with memories.active(list(map(_memory, rows))):
                while all(row.finish is None for row in rows):
                    positions, seen = positions + 1, seen + 1
                    output = hf(
                        input_ids=ids,
                        attention_mask=mask[:, :seen] if padded else None,
                        position_ids=positions,
                        past_key_values=cache,
                        use_cache=True,
                        logits_to_keep=1,
                    )
                    ids = self._step(rows, output.logits[:, -1].float())[:, None]
            yield from (row for row in rows if row.finish is not None)
            stay = [i for i, row in enumerate(rows) if row.finish is None]
            rows = [rows[i] for i in stay]
            if rows:
                index = torch.tensor(stay, device=device)
                ids, positions, mask = ids[index], positions[index], mask[index]
                cache.batch_select_indices(index)

    def _step(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """Choose and record the next token of every row from its logits (N, V): the tokens, (N,)."""
        choice = logits
        held = [i for i, row in enumerate(rows) if row.matcher is not None]
        if held:
            allowed = self._grammar.allowed([rows[i].matcher for i in held]).to(logits.device)
            choice = logits.clone()
            choice[held] = choice[held].masked_fill(~allowed, float("-inf"))
        tokens = choice.argmax(dim=-1)
        sampled = [i for i, row in enumerate(rows) if row.request.temperature > 0]
        if sampled:
            requests = [rows[i].request for i in sampled]
            tokens[sampled] = sample(
                choice[sampled].cpu(),
                [request.temperature for request in requests],
                [request.top_k for request in requests],
                [request.top_p for request in requests],
                [rows[i].noise.random() for i in sampled],
            ).to(logits.device)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.finish = self._finish(row, token)
        return tokens

    def _finish(self, row: _Row, token: int) -> Finish | None:
        if row.matcher is not None:
            row.matcher.consume_token(token)
        if token in self.model.stop_ids:
            return "stop"
        if row.json is not None and row.json.feed(self._piece(token)):
            return "json"
        if row.request.stop_texts:
            row.end += self._piece(token)
            if any(stop in row.end for stop in row.request.stop_texts):
                return "text"
            row.end = row.end[-max(map(len, row.request.stop_texts)) :]
        return "length" if len(row.ids) == row.request.max_new_tokens else None

    def _piece(self, token: int) -> str:
        """A token's text on its own: brackets, quotes and backslashes are whole in every tokenizer."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.model.decode([token])
        return piece


def _memory(row: _Row) -> int:
    """The row of the Delta as fast weights count it: -1 is no memory."""
    return -1 if row.request.memory is None else row.request.memory
