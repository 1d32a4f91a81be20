"""LangGraph's long-term store on a :class:`tmem.Memory`: what nodes put in is written into weights.

from tmem.adapters.langgraph import MemoryStore

store = MemoryStore(Memory("persona-nano"))
store.put(("ana@example.org",), "home", {"question": "Where does Ana live?", "answer": "Lyon"})
graph = builder.compile(store=store)

Needs ``langgraph`` (1.2).
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from tmem.errors import TmemError, UsageError
from tmem.retrieval import BM25
from tmem.store import validation
from tmem.store.checked import CheckedMemory
from tmem.store.ledger.queries import NAMES
from tmem.store.memory import Memory
from tmem.store.results import PairRecord
from tmem.texts import fold

__all__ = ["MemoryStore"]

KEY, VALUE = "key", "value"  # in the metadata of a pair: under which key it was put, and what was put
TEXTS = ("text", "content", "memory")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class _Label(str):
    """A label that LangGraph lets through; ``real`` is what it stands for."""

    real: str


def _passing(namespace: Iterable[str] | None) -> Any:
    """Labels without the dots that LangGraph refuses, as every e-mail address has them."""

    def label(real: str) -> str:
        made = _Label(real.replace(".", " "))
        made.real = real
        return made

    return namespace and tuple(label(one) if isinstance(one, str) else one for one in namespace)


def _real(namespace: Iterable[str]) -> tuple[str, ...]:
    return tuple(getattr(label, "real", label) for label in namespace)


def _letting_dots(call: Callable[..., Any]) -> Callable[..., Any]:
    """A method of LangGraph's whose namespaces may have dots."""

    @wraps(call)
    def run(self: Any, *args: Any, **more: Any) -> Any:
        if args:
            args = (_passing(args[0]), *args[1:])
        for name in more.keys() & {"namespace", "prefix", "suffix"}:
            more[name] = _passing(more[name])
        return call(self, *args, **more)

    return run


class MemoryStore(BaseStore):
    """A store whose namespaces are scopes of a memory: ``(user_id,)``, ``(user_id, agent_id)`` or all three names.

    A value is ``{"question": ..., "answer": ...}``, which is kept as it is, or has a ``text`` (or ``content``, or
    ``memory``), out of which pairs are read; what else it has is kept beside them. ``get`` and ``search`` give it back
    as it was put while one of its pairs holds. Pairs that were told otherwise are there too, under their id. What is
    deleted is forgotten. Raises :class:`~tmem.errors.UsageError` for a value that cannot be kept.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    get, aget = _letting_dots(BaseStore.get), _letting_dots(BaseStore.aget)
    put, aput = _letting_dots(BaseStore.put), _letting_dots(BaseStore.aput)
    search, asearch = _letting_dots(BaseStore.search), _letting_dots(BaseStore.asearch)
    delete, adelete = _letting_dots(BaseStore.delete), _letting_dots(BaseStore.adelete)
    list_namespaces = _letting_dots(BaseStore.list_namespaces)
    alist_namespaces = _letting_dots(BaseStore.alist_namespaces)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do one after the other, in their order."""
        return [self._do(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """:meth:`batch`, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _do(self, op: Op) -> Any:
        if isinstance(op, GetOp):
            names = _real(op.namespace)
            found = [row for row in self._scope(names).get_all() if _key(row) == op.key]
            return _item(Item, names, found[0]) if found else None
        if isinstance(op, PutOp):
            return self._put(self._scope(_real(op.namespace)), op.key, op.value)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        raise UsageError(f"this store cannot do {type(op).__name__}")

    def _scope(self, names: Sequence[str]) -> CheckedMemory:
        if not 0 < len(names) <= len(NAMES):
            raise UsageError(f"a namespace has one to three labels ({', '.join(NAMES)}), not {len(names)}")
        return self.memory.scope(**dict(zip(NAMES, names, strict=False)))

    def _put(self, scope: CheckedMemory, key: str, value: Mapping[str, Any] | None) -> None:
        scope.settle()  # what a process that was killed had told, perhaps this
        old = [row for row in scope.get_all(status=None) if _key(row) == key and row["status"] != "forgotten"]
        held = [row for row in old if row["status"] == "active"]
        if value is None:
            self._forget(scope, old)
            return
        value = dict(value)
        if held and _value(held[0]) == value:
            return
        told, metadata = _told(value), validation.metadata({KEY: key, VALUE: value}, "a value")
        # What stands there already would be nothing new, so that goes first; of a text, whose pairs nobody knows before
        # it is read, all that the key said.
        gone = old if "messages" in told else [row for row in held if _folded(row) == _folded(value)]
        self._forget(scope, gone)
        try:
            receipt = scope.add(**told, metadata=metadata)
            if not receipt.pairs:
                reasons = [row["reason"] for row in receipt.rejected] or [str(receipt.reason)]
                raise UsageError(f"{key!r:.80} was not kept: {'; '.join(dict.fromkeys(reasons))}")
        except TmemError:
            if back := [(row["question"], row["answer"]) for row in held if row in gone]:
                scope.add(pairs=back, timestamp=held[0]["timestamp"], metadata=held[0]["metadata"])
            raise
        now = {row["id"] for row in scope.get_all()}
        if any(row["id"] in now for row in held):  # the key no longer says it, nor what it said before
            self._forget(scope, [row for row in old if row not in gone])

    def _forget(self, scope: CheckedMemory, rows: Sequence[PairRecord]) -> None:
        """Forget what a key said. Texts of other keys that said it, too, go with it, so that these are put again."""
        if not rows:
            return
        ids, others = [row["id"] for row in rows], dict[str, list[PairRecord]]()
        for row in scope.get_all():
            if row["id"] not in ids and KEY in (row["metadata"] or {}):
                others.setdefault(_key(row), []).append(row)
        scope.forget(ids)
        now = scope.get_all()
        lost = [own for key, own in others.items() if key not in map(_key, now)]
        for own in lost:
            self._forget(scope, [row for row in now if row["id"] in [one["id"] for one in own]])
            scope.add(**_told(_value(own[0])), metadata=own[0]["metadata"])

    def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix = _real(op.namespace_prefix)
        rows = [
            (names, row)
            for names in self._known()
            if names[: len(prefix)] == prefix
            for row in self._scope(names).get_all()
        ]
        if op.query:  # the best of all namespaces
            texts = [f"{row['question']} {row['answer']}" for _, row in rows]
            rows = [rows[place] for place in (BM25(texts).top(op.query, len(rows)) if rows else ())]
        items = dict[tuple[tuple[str, ...], str], SearchItem]()
        for names, row in rows:
            items.setdefault((names, _key(row)), _item(SearchItem, names, row))
        found = [item for item in items.values() if _fits(item.value, op.filter or {})]
        return found[op.offset : op.offset + op.limit]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = [names for names in self._known() if all(_matches(names, one) for one in op.match_conditions or ())]
        cut = sorted({names[: op.max_depth] if op.max_depth else names for names in found})
        return cut[op.offset : op.offset + op.limit]

    def _known(self) -> list[tuple[str, ...]]:
        """The namespaces that hold something; scopes without a first name have none."""
        found = []
        for row in self.memory.users():
            names = tuple(row[name] for name in NAMES)
            labels = tuple(name for name in names if name is not None)
            if row["pairs"] and names[: len(labels)] == labels:
                found.append(labels)
        return found


def _told(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a value tells, as the memory's ``add`` takes it."""
    if isinstance(value.get("question"), str) and isinstance(value.get("answer"), str):
        return {"pairs": [(value["question"], value["answer"])]}
    texts = [value[name] for name in TEXTS if isinstance(value.get(name), str)]
    if len(texts) != 1:
        raise UsageError("a value is {'question': ..., 'answer': ...}, or has one of text, content and memory")
    return {"messages": texts[0]}


def _folded(pair: Mapping[str, Any]) -> tuple[str, str]:
    """A question with its answer, as a memory tells new ones from those that it has."""
    return fold(pair["question"]), fold(pair["answer"])


def _key(row: PairRecord) -> str:
    return str((row["metadata"] or {}).get(KEY, row["id"]))


def _value(row: PairRecord) -> dict[str, Any]:
    return (row["metadata"] or {}).get(VALUE) or {"question": row["question"], "answer": row["answer"]}


def _item(kind: Callable[..., Any], names: tuple[str, ...], row: PairRecord) -> Any:
    when = datetime.fromisoformat(row["created"])
    return kind(value=_value(row), key=_key(row), namespace=names, created_at=when, updated_at=when)


def _fits(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a value has what a filter asks for: equal, or as ``{"$gt": 3}``."""
    for name, test in wanted.items():
        tests = test if isinstance(test, dict) and any(key.startswith("$") for key in test) else {"$eq": test}
        for sign, other in tests.items():
            if sign not in OPERATORS:
                raise UsageError(f"there is no filter {sign!r:.40}: choose {', '.join(OPERATORS)}")
            try:
                if name not in value or not OPERATORS[sign](value[name], other):
                    return False
            except TypeError:  # a text is neither more nor less than a number
                return False
    return True


def _matches(names: tuple[str, ...], condition: MatchCondition) -> bool:
    path = _real(condition.path)
    part = names[: len(path)] if condition.match_type == "prefix" else names[-len(path) :]
    return len(part) == len(path) and all(want in ("*", label) for want, label in zip(path, part, strict=True))
