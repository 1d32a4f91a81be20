"""``tmem.Memory``: what people tell is extracted, written into weights of their own, and answered from.

from tmem import Memory

memory = Memory("persona-nano", home="~/.tmem")
receipt = memory.add("Ana said, \"I live in Lyon.\"", user_id="ana")
memory.ask("Where does Ana live?", user_id="ana").text
memory.forget([receipt.pairs[0]["id"]], user_id="ana")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, TypedDict, Unpack

from tmem.dates import Moment
from tmem.errors import UsageError
from tmem.store import validation
from tmem.store.care.backup import backup
from tmem.store.care.doctor import Finding, examine
from tmem.store.checked import CheckedMemory
from tmem.store.home import Home
from tmem.store.ledger.queries import NAMES
from tmem.store.loaded import Shared
from tmem.store.messages import Messages
from tmem.store.results import (
    Answer,
    Difference,
    GrowthRecord,
    PairRecord,
    Receipt,
    Record,
    Reply,
    Stats,
    VersionRecord,
    WhyRecord,
)
from tmem.store.revise import adopt_all
from tmem.store.weights.states import Later
from tmem.store.writers import absorb_all
from tmem.turn import Turn

if TYPE_CHECKING:
    from tmem.model import Engine, Model
    from tmem.model.answering import Unknown
    from tmem.model.request import GenerationConfig
    from tmem.store.actions import Actions


class Ids(TypedDict, total=False):
    """Whose memory a call is about: at least one of them."""

    user_id: str | None
    agent_id: str | None
    run_id: str | None


class Memory:
    """Memories of many people on one model, kept in ``home``. Usable from several threads and processes.

    Every call names whose memory it is about by ``user_id``, ``agent_id`` and ``run_id``, at least one of them, and
    raises :class:`~tmem.errors.ScopeRequired` without; what else it takes and returns is said at the method of the same
    name of :class:`~tmem.store.scoped.ScopedMemory`, which :meth:`scope` gives as a :class:`CheckedMemory`.
    """

    def __init__(
        self,
        model: str | Path | Model | Callable[[], Model] = "persona-nano",
        home: str | Path = "~/.tmem",
        recipe: str = "tmem",
        threads: int = 1,
        snapshot_every: int = 16,
        side_by_side: bool = False,
        engine: str | Engine | None = None,
    ) -> None:
        """``model``: also a function that loads it, called when it is first needed: who only looks needs none.

        ``threads``: of every training run, part of what a memory is made with; ``snapshot_every``: as in Home.
        ``side_by_side``: for many threads, as a server has: what they ask for is generated in one batch, by a thread
        of its own, and writes hold up nobody else. ``engine``: what answers instead of the model's own loop; by name
        as :func:`~tmem.model.engines.open_engine` takes it, and closed with the memory then. Writes are made here in
        any case.
        """
        validation.path(home, "home")
        for name, number in (("threads", threads), ("snapshot_every", snapshot_every)):
            validation.count(1)(number, name)
        if isinstance(model, str | Path):
            from tmem.model import load

            model = load(model)
        if not callable(model):
            if not hasattr(model, "hf"):
                raise UsageError(f"model must be a name, a tmem.model.Model or a function, not {type(model).__name__}")
            from tmem.fastweights.target_modules import find_target_modules

            # A model that cannot be written to is refused at once.
            find_target_modules(model.hf, model.recipe(recipe).layers)

        self._ends = ExitStack()

        def make() -> Actions:
            from tmem.model.batch import Batch
            from tmem.model.engine import HFEngine
            from tmem.store.actions import Actions
            from tmem.store.weights.trainer import make_trainer

            loaded = model() if callable(model) else model
            chosen = loaded.recipe(recipe)
            if not side_by_side or engine is not None:
                return Actions(make_trainer(loaded, chosen, threads), self._engine(loaded, engine))
            batch = Batch(HFEngine(loaded), loaded.fast(chosen))
            self._ends.callback(batch.close)
            return Actions(make_trainer(loaded.twin(), chosen, threads, loaded.turn), batch)

        if not callable(model):
            engine = self._engine(model, engine)
        actions = _once(make)
        turn = Turn() if callable(model) else model.turn
        self._shared = Shared(Home(home, Later(lambda: actions().trainer), snapshot_every), actions, turn)

    def _engine(self, model: Model, engine: str | Engine | None) -> Engine | None:
        if not isinstance(engine, str):
            return engine
        from tmem.model.engines import open_engine

        opened = open_engine(model, engine)
        self._ends.callback(opened.close)
        return opened

    def close(self) -> None:
        """Close the home, and the engine if it was opened here; nothing is lost without."""
        self._ends.close()
        self._shared.home.close()

    def warm(self) -> None:
        """Make now what the first calls would wait for."""
        with self._shared.turn:
            self._shared.actions().warm()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scope(
        self, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> CheckedMemory:
        """The memory of one scope, bound once: what an application should pass around."""
        own = (
            validation.owner(user_id, "user_id"),
            validation.owner(agent_id, "agent_id"),
            validation.owner(run_id, "run_id"),
        )
        return CheckedMemory(self._shared, self._shared.home.scope(own))

    def add(
        self,
        messages: Messages = "",
        *,
        pairs: Sequence[tuple[str, str]] = (),
        infer: bool = True,
        absorb: bool = True,
        timestamp: str | Moment | None = None,
        metadata: Record | None = None,
        roles: Sequence[str] = ("user",),
        context: str = "",
        progress: Callable[[int, int], None] = lambda done, total: None,
        expiration_date: str | None = None,
        **ids: Unpack[Ids],
    ) -> Receipt:
        """``expiration_date`` is refused: pairs do not expire."""
        if expiration_date is not None:
            raise UsageError(
                "expiration_date: pairs do not expire here; keep the date in metadata, and forget them when it has come"
            )
        return self.scope(**ids).add(
            messages,
            pairs=pairs,
            infer=infer,
            absorb=absorb,
            timestamp=timestamp,
            metadata=metadata,
            roles=roles,
            context=context,
            progress=progress,
        )

    def absorb(self, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).absorb()

    def absorb_all(self) -> Iterator[tuple[str, str | None]]:
        """Train on all that was told and not yet written, of everybody; many processes may do so at once and share it.

        Gives the names of each memory that was written, and why it was not, None if it was.
        """
        yield from absorb_all(self._shared)

    def update(
        self,
        pair_id: str | None = None,
        answer: str | None = None,
        *,
        memory_id: str | None = None,
        text: str | None = None,
        **ids: Unpack[Ids],
    ) -> Receipt:
        """``memory_id`` and ``text`` are other names for ``pair_id`` and ``answer``."""
        pair_id, answer = _either(pair_id, memory_id, "pair_id", "memory_id"), _either(answer, text, "answer", "text")
        return self.scope(**ids).update(pair_id, answer)

    def ask(
        self,
        question: str,
        *,
        version: str | int | None = None,
        show_pairs: int = 0,
        unknown: Unknown = "refuse",
        **ids: Unpack[Ids],
    ) -> Answer:
        return self.scope(**ids).ask(question, version=version, show_pairs=show_pairs, unknown=unknown)

    def chat(
        self,
        messages: Messages,
        *,
        name: str | None = None,
        timestamp: str | Moment | None = None,
        learn: bool = True,
        sampling: GenerationConfig | None = None,
        documents: Sequence[str] = (),
        **ids: Unpack[Ids],
    ) -> Reply:
        more: Record = {"sampling": sampling, "documents": documents}
        return self.scope(**ids).chat(messages, name=name, timestamp=timestamp, learn=learn, **more)

    def doctor(self, *, fix: bool = False) -> list[Finding]:
        """What is wrong with the home, all of it; ``fix`` makes anew what the ledger can make anew."""
        return examine(self._shared.home, validation.flag(fix, "fix"), self._shared.turn)

    def backup(self, folder: str | Path) -> int:
        """Copy the whole home to a new folder, also while it is in use; returns the number of files of weights.

        :func:`tmem.store.care.backup.restore` makes it the home again. What is forgotten later is still in it.
        """
        return backup(self._shared.home.path, validation.path(folder, "folder"))

    def search(
        self, query: str, *, top_k: int = 10, filters: Mapping[str, str] | None = None, **ids: Unpack[Ids]
    ) -> list[PairRecord]:
        """``filters`` may say whose memory it is: ``{"user_id": "ana"}``."""
        return self.scope(**_whose(ids, filters)).search(query, top_k=top_k)

    def get(self, pair_id: str, **ids: Unpack[Ids]) -> PairRecord:
        return self.scope(**ids).get(pair_id)

    def get_all(
        self, *, status: str | None = "active", filters: Mapping[str, str] | None = None, **ids: Unpack[Ids]
    ) -> list[PairRecord]:
        """``filters`` may say whose memory it is: ``{"user_id": "ana"}``."""
        return self.scope(**_whose(ids, filters)).get_all(status=status)

    def history(self, pair_id: str, **ids: Unpack[Ids]) -> list[PairRecord]:
        return self.scope(**ids).history(pair_id)

    def versions(self, **ids: Unpack[Ids]) -> list[VersionRecord]:
        return self.scope(**ids).versions()

    def diff(self, first: str | int, second: str | int, **ids: Unpack[Ids]) -> Difference:
        return self.scope(**ids).diff(first, second)

    def stats(self, **ids: Unpack[Ids]) -> Stats:
        return self.scope(**ids).stats()

    def growth(self, **ids: Unpack[Ids]) -> list[GrowthRecord]:
        return self.scope(**ids).growth()

    def rollback(self, version: str | int, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).rollback(version)

    def tag(self, version: str | int, name: str, **ids: Unpack[Ids]) -> None:
        self.scope(**ids).tag(version, name)

    def forget(self, pair_ids: Sequence[str], *, mode: str = "replay", **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).forget(pair_ids, mode=mode)

    def delete(self, pair_id: str, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).delete(pair_id)

    def delete_all(self, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).delete_all()

    def erase(self, **ids: Unpack[Ids]) -> bool:
        return self.scope(**ids).erase()

    def users(self) -> list[Record]:
        """Whose memories there are: ``user_id``, ``agent_id``, ``run_id``, ``created``, and how many ``pairs`` hold."""
        return self._shared.home.users()

    def metrics(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """What can be counted while it is in use: by name what it is, and how it is looked up."""
        home, batch = self._shared.home, lambda: self._shared.actions().engine
        return {
            "states_in_memory": ("Weights that were in memory when asked for", lambda: home.found["in memory"]),
            "states_missed": ("Weights that were read or made when asked for", lambda: home.found["missed"]),
            "states_evicted": ("Weights that left memory for others", lambda: home.found["evicted"]),
            "batch_rows": ("Texts that are being generated", lambda: getattr(batch(), "rows", 0)),
            "batch_tokens": ("Tokens that were generated", lambda: getattr(batch(), "tokens", 0)),
        }

    def pending(self) -> list[CheckedMemory]:
        """The memories that were told something which is not yet written, as a process leaves them that was killed."""
        return [CheckedMemory(self._shared, scope) for scope in self._shared.home.pending()]

    def rebuild(self, *, adopt: bool = False, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).rebuild(adopt=adopt)

    def rebuild_all(self) -> Iterator[tuple[str, int, int]]:
        """Write every memory of the home anew that was made with another model, recipe or torch; see ``adopt_all``.

        Gives the names of each when it is done, how many are done, and how many there are.
        """
        yield from adopt_all(self._shared.home, self._shared.turn)

    def why(self, question: str, *, answer: str | None = None, most: int = 5, **ids: Unpack[Ids]) -> list[WhyRecord]:
        return self.scope(**ids).why(question, answer=answer, most=most)

    def save_pretrained(self, folder: str | Path, *, version: str | int | None = None, **ids: Unpack[Ids]) -> None:
        self.scope(**ids).save_pretrained(folder, version=version)

    def save_gguf(
        self, folder: str | Path, *, version: str | int | None = None, base: str | None = None, **ids: Unpack[Ids]
    ) -> list[Path]:
        return self.scope(**ids).save_gguf(folder, version=version, base=base)

    def export(
        self,
        path: str | Path,
        *,
        format: str = "ledger",
        version: str | int | None = None,
        base: str | None = None,
        **ids: Unpack[Ids],
    ) -> int:
        return self.scope(**ids).export(path, format=format, version=version, base=base)

    def import_(self, path: str | Path, **ids: Unpack[Ids]) -> Receipt:
        return self.scope(**ids).import_(path)

    def verify(self, *, deep: bool = False, **ids: Unpack[Ids]) -> Record:
        return self.scope(**ids).verify(deep=deep)


for _name, _own in vars(Memory).items():  # so that an editor, help() and the pages say what each takes
    if callable(_own) and _own.__doc__ is None and not _name.startswith("_"):
        _own.__doc__ = getattr(CheckedMemory, _name).__doc__


def _whose(ids: Ids, filters: Mapping[str, str] | None) -> Ids:
    """Whose memory a call is about, also if its filters say so. Raises :class:`UsageError` for any other filter."""
    if filters is None:
        return ids
    if not isinstance(filters, Mapping):
        raise UsageError("filters must be a dict, as {'user_id': ...}")
    for name, value in filters.items():
        if name not in NAMES:
            raise UsageError(f"filters can only say user_id, agent_id and run_id, not {name!r:.80}")
        if ids.get(name) not in (None, value):
            raise UsageError(f"{name} is {ids.get(name)!r:.80} in the call and {value!r:.80} in its filters")
    return {**ids, **filters}  # type: ignore[typeddict-item]


def _either(one: str | None, other: str | None, name: str, also: str) -> str:
    """What was given under one of two names. Raises :class:`UsageError` for none, or both."""
    if one is not None and other is not None:
        raise UsageError(f"{name} and {also} are the same: give one of them")
    if one is None and other is None:
        raise UsageError(f"update needs {name}")
    return one if other is None else other  # type: ignore[return-value]


def _once(make: Callable[[], Actions]) -> Callable[[], Actions]:
    """A function that makes something in its first call, and gives that in every other."""
    made: list[Actions] = []
    lock = RLock()

    def get() -> Actions:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get
