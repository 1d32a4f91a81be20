"""Generating side by side: texts come in at any time, and each comes out as soon as it ends.

A text that runs on and on keeps nobody waiting: the others leave, and new ones take their places.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tmem.errors import UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.fastweights.delta import together
from tmem.model.cache import ROOM, begun, joined, narrow
from tmem.model.decode_step import Step
from tmem.model.grammar import Grammar
from tmem.model.load import Model
from tmem.model.onednn import ROWS, large_products
from tmem.model.prefill import ALIKE, Memories, Prefill, shown
from tmem.model.request import Completion, Finish, Likeliest, Listener, Request, check
from tmem.model.sampling import mix, sample
from tmem.model.stopping import Ending, shown_text

NEW = 4  # new texts come in when there are this part of those that go on: coming in copies all keys and values


@dataclass(eq=False)
class _Row:
    """A request while it is being generated."""

    number: int
    request: Request
    delta: Delta | None
    owner: int  # the number of the first request that came with the same Delta
    noise: random.Random  # one uniform per sampled token, so a text depends on its own seed alone
    ending: Ending
    matcher: Any  # llguidance.LLMatcher | None
    listener: Listener | None = None
    common: int = 0  # tokens that its prompt begins with like others
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish | None = None
    beside: list[_Row] = field(default_factory=list)  # the memory's voice and the bare one, which say the same tokens
    lead: _Row | None = None  # of such a voice: the row that it stands beside
    doubted: bool = False  # its memory refused, which proves little

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.request.prompt_ids

    @property
    def beginning(self) -> tuple[int, ...]:
        return self.prompt[: self.common]

    @property
    def memory(self) -> tuple[int, int]:
        """The same for rows that share a memory; its second number is the row of the Delta, -1 for none."""
        return (-1, -1) if self.request.memory is None else (self.owner, self.request.memory)

    @property
    def read(self) -> int:
        """Tokens that its part of the cache holds: all but the newest."""
        return len(self.prompt) + len(self.ids) - 1


class Stream:
    """Texts that are generated together, in batches of at most ``max_tokens`` (longest prompt + longest answer, times
    rows). ``grammar`` gives what requests with one are held to; ``fast``: the fast weights of all their memories.
    ``at_once``: nobody waits until enough others have come, whatever the copies cost.
    """

    def __init__(
        self,
        model: Model,
        prefill: Prefill,
        grammar: Callable[[], Grammar],
        fast: FastWeights | None,
        max_tokens: int,
        at_once: bool = False,
    ) -> None:
        self.model, self.fast, self.max_tokens, self.at_once = model, fast, max_tokens, at_once
        self._prefill, self._grammar = prefill, grammar
        self._room = ROOM if model.device.type == "cuda" else 0  # that a cache has in any case; on a GPU it is counted
        self._count = 0
        self._broken = False
        self._waiting: list[_Row] = []
        self._rows: list[_Row] = []
        self._cache: DynamicCache | None = None
        self._ids = torch.empty(0, 1)  # (N, 1), the newest token of every row
        self._shared: tuple[Memories, list[int]] | None = None  # of the rows as they are

    def add(
        self, requests: Sequence[Request], deltas: Sequence[Delta | None], listener: Listener | None = None
    ) -> list[int]:
        """Take in requests, each with the Delta that its memory is in; the numbers that :meth:`step` names them by.

        ``listener`` hears them all.

        Raises :class:`UsageError` for a request that cannot work, such as one longer than the model's window, and
        :class:`DeltaError` for a memory that is not there.
        """
        self._check_whole()
        for request, delta in zip(requests, deltas, strict=True):
            check(request, self.model, delta, self.fast)
        owners: dict[int, int] = {}
        rows = [
            _Row(
                self._count + place,
                request if request.voices is None else replace(request, memory=None),
                delta,
                owner=owners.setdefault(id(delta), self._count + place),
                noise=random.Random(request.seed),
                ending=Ending(self.model, request),
                matcher=self._grammar().matcher(request.schema) if request.grammar or request.schema else None,
                listener=listener,
            )
            for place, (request, delta) in enumerate(zip(requests, deltas, strict=True))
        ]
        numbers = list(range(self._count, self._count + len(rows)))
        self._count += len(rows)
        for row, request in zip(rows, requests, strict=True):
            # Without a memory there is nothing to hear: what it would add is zero.
            if request.voices is not None and request.memory is not None:
                row.beside = [_voice(row, request, memory) for memory in (request.memory, None)]
        whole = [one for row in rows for one in (row, *row.beside)]
        common = self._prefill.groups([row.prompt for row in whole], self.fast)
        for row, length in zip(whole, common, strict=True):
            row.common = length
        # Similar lengths together, so that little is padded; the longest first; and what begins alike in one place.
        longest: dict[tuple[int, ...], int] = {}
        for row in rows:
            longest[row.beginning] = max(len(row.prompt), longest.get(row.beginning, 0))
        rows.sort(key=lambda row: (-longest[row.beginning] if row.common else -len(row.prompt), row.beginning))
        self._waiting += rows
        return numbers

    @torch.no_grad()
    def step(self, pause: Callable[[], bool] | None = None) -> list[tuple[int, Completion]]:
        """Generate until a text ends; those that ended, with their numbers. Empty if there is nothing to do.

        ``pause``, asked after every token, says that others have something to do first: what is begun goes on in the
        next step.

        After an error the stream cannot be used any more: its rows and their cache may no longer be those of one step.
        """
        self._check_whole()
        self._broken = True
        gone = [row for row in self._waiting if row.listener is not None and row.listener.gone]
        if gone:
            self._waiting = [row for row in self._waiting if row not in gone]
        if self._waiting:
            written = self.model.written()
            with large_products(self.model.hf.parameters()) if written is None else written.reading():
                self._let_in()
        rows = self._rows
        if rows and all(row.finish is None for row in rows):
            self._decode(pause)
        self._broken = False
        ended = [row for row in rows if row.finish is not None]
        if ended:
            self._leave()
        never = [(row.number, Completion((), "", (), "cancelled")) for row in gone]
        return never + [(row.number, self._complete(row)) for row in ended if row.lead is None]

    def _check_whole(self) -> None:
        if self._broken:
            raise UsageError("an earlier step of this stream failed: make a new one")

    @property
    def rows(self) -> int:
        """How many texts are being generated, voices beside them too."""
        return len(self._rows)

    def _leave(self) -> None:
        """Let those that ended go. The last rows take their places: the others stay where they are."""
        self._shared = None
        stay = [place for place, row in enumerate(self._rows) if row.finish is None]
        if not stay:
            self._rows, self._cache = [], None
            if not self._waiting:
                self._prefill.trim()
            return
        last = iter(reversed(stay))
        places = [place if self._rows[place].finish is None else next(last) for place in range(len(stay))]
        index = torch.tensor(places)
        self._rows, self._ids = [self._rows[place] for place in places], self._ids[index]
        assert self._cache is not None
        self._cache.batch_select_indices(index)
        if self._prefill.joins:
            narrow(self._cache, max(row.read for row in self._rows))

    def _let_in(self) -> None:
        """Read the prompts of those that wait and fit, if they are worth the copies or nobody else is there."""
        if self._rows and not self._prefill.joins:
            return
        chosen: list[_Row] = []
        width = max((len(row.prompt) for row in self._rows), default=0)
        answer = max((row.request.max_new_tokens for row in self._rows), default=0)
        taken = 0
        for row in self._waiting:
            own = [row, *row.beside]
            width = max(width, *(len(one.prompt) for one in own))
            answer = max(answer, row.request.max_new_tokens)
            count = len(self._rows) + len(chosen)
            if count and (count + len(own)) * (width + max(answer, self._room)) > self.max_tokens:
                break
            chosen += own
            taken += 1
        if not chosen or (len(chosen) * NEW < len(self._rows) and not self.at_once):
            return
        self._waiting = self._waiting[taken:]
        # The longest first, so that what is read together is alike; about as long ones by memory, which share a B.
        chosen.sort(key=lambda row: (row.beginning, -int(math.log(len(row.prompt), 1 / ALIKE)), row.memory))
        memories, places = _memories(chosen, self.fast)
        filled = self._prefill.fill([row.prompt for row in chosen], [row.common for row in chosen], places, memories)
        ids = self._choose(chosen, torch.cat([part.logits for part in filled]).float())[:, None]
        parts = [] if self._cache is None else [(self._cache, [row.read for row in self._rows])]
        self._ids = torch.cat([self._ids, ids]) if parts else ids
        lengths = iter([row.read for row in chosen])
        parts += [(part.cache, list(islice(lengths, len(part.logits)))) for part in filled]
        self._cache = joined(parts, self.model.hf.config)
        self._rows, self._shared = [*self._rows, *chosen], None

    def _decode(self, pause: Callable[[], bool] | None) -> None:
        """Token by token until a row is finished, or others have something to do first."""
        rows, cache = self._rows, self._cache
        assert cache is not None
        with self._steps(cache, [row.read for row in rows]) as step:
            while all(row.finish is None for row in rows):
                self._ids = self._choose(rows, step(self._ids).float())[:, None]
                if pause is not None and pause():
                    break

    @contextmanager
    def _steps(self, cache: DynamicCache, read: Sequence[int]) -> Iterator[Step]:
        """Steps of the rows, of which the cache holds ``read[i]`` tokens each: as written out, or the forward pass.

        Memories are made ready, or their hooks attached, once for all steps of the same rows.
        """
        if self._shared is None:
            self._shared = _memories(self._rows, self.fast)
        memories, places = self._shared
        if (written := self.model.written()) is not None:
            with written.steps(cache, read, memories.additions(places)) as step:
                yield step
            return
        device, lengths = self.model.device, torch.tensor(read, device=self.model.device)[:, None]  # (N, 1)
        seen, first = cache.get_seq_length(), begun(cache)
        padding, padded, done = seen - lengths, any(own < seen for own in read), 0

        def forward(ids: Tensor) -> Tensor:
            nonlocal done
            done += 1
            columns = torch.arange(seen + done, device=device)[None]
            logits: Tensor = self.model.hf(
                input_ids=ids,
                attention_mask=shown(columns, first, padding) if padded else None,
                position_ids=lengths + (done - 1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            return logits

        # Looking at every product is a twelfth of the time of one row, and gains nothing.
        few = len(read) < ROWS
        with memories.active(places), nullcontext() if few else large_products(self.model.hf.parameters()):
            yield forward

    def _complete(self, row: _Row) -> Completion:
        assert row.finish is not None
        text = shown_text(self.model, row.request, row.ids, row.finish)
        return Completion(tuple(row.ids), text, tuple(row.logprobs), row.finish)

    def _choose(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """Choose and record the next token of every row from its logits (N, V): the tokens, (N,)."""
        if any(row.lead is not None for row in rows):
            return self._choose_together(rows, logits)
        choice = logits
        held = [i for i, row in enumerate(rows) if row.matcher is not None]
        if held:
            allowed = self._grammar().allowed([rows[i].matcher for i in held]).to(logits.device)
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
        total = logits.logsumexp(dim=-1)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - total
        likeliest = _likeliest(rows, logits, total)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.finish = self._finish(row, token)
            if row.listener is not None:
                row.listener.heard(token, logprob, likeliest.get(row.number, ()))
                if row.listener.gone:
                    row.finish = row.finish or "cancelled"
        return tokens

    def _choose_together(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """The same where some rows have voices beside them: these say what their row says."""
        place = {id(row): i for i, row in enumerate(rows)}
        leads = [row for row in rows if row.lead is None]
        own = logits[[place[id(row)] for row in leads]]
        mixed = [i for i, row in enumerate(leads) if row.beside]
        heard = [[place[id(leads[i].beside[which])] for i in mixed] for which in (0, 1)]
        for i, own_place in zip(mixed, heard[0], strict=True):
            voices = leads[i].request.voices
            if not leads[i].ids and voices is not None and voices.refusal is not None:
                leads[i].doubted = int(logits[own_place].argmax()) == voices.refusal
        weights = torch.tensor(
            [own.request.voices.weights(own.doubted) for own in leads if own.beside and own.request.voices is not None],
            device=logits.device,
        )
        own[mixed] = mix(own[mixed], logits[heard[0]], logits[heard[1]], weights)
        chosen = self._choose(leads, own)
        tokens = chosen.new_empty(len(rows))
        for row, token in zip(leads, chosen, strict=True):
            for one in (row, *row.beside):
                tokens[place[id(one)]] = token
        for row in rows:
            if row.lead is not None:
                row.ids, row.finish = list(row.lead.ids), row.lead.finish
        return tokens

    def _finish(self, row: _Row, token: int) -> Finish | None:
        if row.matcher is not None:
            row.matcher.consume_token(token)
        return row.ending.after(token)


def _likeliest(rows: Sequence[_Row], logits: Tensor, total: Tensor) -> dict[int, Likeliest]:
    """By number of their rows: the likeliest tokens that listeners want to be told, of logits (N, V)."""
    found = {}
    for place, row in enumerate(rows):
        if row.listener is not None and row.listener.likeliest:
            values, tokens = (logits[place] - total[place]).topk(row.listener.likeliest)
            found[row.number] = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    return found


def _voice(lead: _Row, request: Request, memory: int | None) -> _Row:
    """A row that hears a request's bare question beside it."""
    assert request.voices is not None
    own = Request(request.voices.prompt_ids, memory, request.max_new_tokens)
    return _Row(lead.number, own, lead.delta, lead.owner, lead.noise, lead.ending, matcher=None, lead=lead)


def _memories(rows: Sequence[_Row], fast: FastWeights | None) -> tuple[Memories, list[int]]:
    """The memories of all rows as one Delta, and the row of it that each uses, -1 for none."""
    delta, firsts = together([None if row.request.memory is None else row.delta for row in rows])
    used = [row.request.memory for row in rows]
    places = [-1 if memory is None else first + memory for first, memory in zip(firsts, used, strict=True)]
    return Memories(delta, fast), places
