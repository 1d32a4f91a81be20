"""LangGraph's store on a memory: its contract, e-mail addresses, and what is forgotten."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from server.fakes import open_memory

pytest.importorskip("langgraph", reason="langgraph is not installed")

from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, PutOp

from tmem.adapters.langgraph import MemoryStore
from tmem.errors import UsageError

ANA, BEN = ("ana@example.org",), ("ben.k@example.org", "coach")
HOME = {"question": "Where does Ana live?", "answer": "Lyon"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    memory, actions = open_memory(tmp_path)
    plain = actions.filter_pairs

    def filter_pairs(state: Any, found: Any, active: Any) -> Any:
        """What was told already is nothing new, as of a real model."""
        held = {(pair.question, pair.answer) for pair in active}
        again = [pair for pair in found if (pair.question, pair.answer) in held]
        new, _ = plain(state, [pair for pair in found if pair not in again], active)
        return new, [{"reason": "duplicate of an earlier pair", "text": pair.question} for pair in again]

    actions.filter_pairs = filter_pairs  # type: ignore[method-assign]
    yield MemoryStore(memory)
    memory.close()


def test_what_is_put_is_got_and_deleted(store: MemoryStore) -> None:
    store.put(ANA, "home", {**HOME, "from": "form"})
    found = store.get(ANA, "home")
    assert found is not None and found.value == {**HOME, "from": "form"}
    assert (found.key, found.namespace) == ("home", ANA) and found.created_at.tzinfo is not None
    assert store.memory.ask(HOME["question"], user_id=ANA[0]).text == "Lyon"  # under her name as it is
    store.delete(ANA, "home")
    store.delete(ANA, "home")
    assert store.get(ANA, "home") is None and store.search(()) == []
    assert store.memory.ask(HOME["question"], user_id=ANA[0]).source == "nothing"


def test_put_again_replaces(store: MemoryStore) -> None:
    versions = store.memory.scope(*ANA).versions
    store.put(ANA, "home", HOME)
    store.put(ANA, "home", HOME)
    assert len(versions()) == 1  # the same again is nothing to write
    store.put(ANA, "home", {**HOME, "answer": "Nice"})
    assert store.get(ANA, "home").value["answer"] == "Nice"
    store.put(ANA, "home", {**HOME, "answer": "Nice", "sure": True})
    assert store.get(ANA, "home").value["sure"] is True
    store.put(ANA, "home", {"question": "Which tea does Ana drink?", "answer": "mint"})
    [item] = store.search(ANA)
    assert item.value["answer"] == "mint" and item.key == "home"
    assert [row["answer"] for row in store.memory.get_all(user_id=ANA[0])] == ["mint"]


def test_a_text_that_is_put_again_keeps_what_it_still_says(store: MemoryStore) -> None:
    lyon = 'Ana said, "I live in Lyon."'
    store.put(ANA, "note", {"text": f'{lyon} Ben said, "I live in Oslo."'})
    for more in ({}, {"sure": True}):
        value = {"text": f'{lyon} Ben said, "I live in Rome."', **more}
        store.put(ANA, "note", value)
        [item] = store.search(ANA)
        assert (item.key, item.value) == ("note", value)
        assert {row["answer"] for row in store.memory.get_all(user_id=ANA[0])} == {"Lyon", "Rome"}


def test_what_cannot_be_put_leaves_what_was_there(store: MemoryStore) -> None:
    for key, value in (("home", HOME), ("note", {"text": 'Ben said, "I live in Oslo."'})):
        store.put(ANA, key, value)
        for wrong in ({**value, "when": datetime(2026, 5, 8)}, {"text": "It rained."}):
            with pytest.raises(UsageError):
                store.put(ANA, key, wrong)
            assert store.get(ANA, key).value == value
    assert {row["answer"] for row in store.memory.get_all(user_id=ANA[0])} == {"Lyon", "Oslo"}


def test_what_another_key_says_too_is_not_forgotten_with_the_first(store: MemoryStore) -> None:
    lyon, value = 'Ana said, "I live in Lyon."', {"text": 'Ana said, "I live in Lyon." Ben said, "I live in Oslo."'}
    store.put(ANA, "one", {"text": lyon})
    store.put(ANA, "two", value)
    store.delete(ANA, "one")
    [item] = store.search(ANA)
    assert (item.key, item.value) == ("two", value)
    assert {row["answer"] for row in store.memory.get_all(user_id=ANA[0])} == {"Lyon", "Oslo"}
    store.delete(ANA, "two")
    assert store.memory.get_all(user_id=ANA[0]) == []


def test_what_was_told_by_a_process_that_was_killed_is_written(store: MemoryStore) -> None:
    told = {"pairs": [tuple(HOME.values())], "metadata": {"key": "home", "value": HOME}}
    store.memory.add(**told, absorb=False, user_id=ANA[0])
    assert store.get(ANA, "home") is None
    store.put(ANA, "home", HOME)
    assert store.get(ANA, "home").value == HOME and len(store.search(ANA)) == 1


def test_pairs_are_read_out_of_texts(store: MemoryStore) -> None:
    for name, text in (("text", "Lyon"), ("content", "Nice"), ("memory", "Paris")):
        store.put((f"{name}.",), "k", {name: f'Ana said, "I live in {text}."'})
        assert store.memory.ask("Where does Ana live?", user_id=f"{name}.").text == text
    for value in ({"text": "It rained."}, {}, {"text": 5}, {"text": "a", "memory": "b"}, {"question": "Who?"}):
        with pytest.raises(UsageError):
            store.put(ANA, "k", value)
    assert store.get(ANA, "k") is None
    store.memory.add(pairs=[("Which sea?", "the North Sea")], user_id=ANA[0])  # told elsewhere
    [item] = store.search(ANA)
    assert item.value == {"question": "Which sea?", "answer": "the North Sea"}
    assert store.get(ANA, item.key) == item


def test_search_filters_ranks_and_stays_in_its_namespace(store: MemoryStore) -> None:
    for place, (question, answer) in enumerate(
        [("Which tea?", "mint"), ("Which sea?", "North"), ("Which cat?", "Tom")]
    ):
        store.put(ANA, str(place), {"question": question, "answer": answer, "rank": place})
    store.put(BEN, "0", HOME)
    assert store.search(ANA, query="cat")[0].key == "2"
    assert store.search((), query="home of Ana, where she lives", limit=1)[0].namespace == BEN
    assert [item.key for item in store.search(ANA, limit=1, offset=1)] == ["1"]
    assert {item.key for item in store.search(ANA, filter={"rank": {"$gte": 1, "$lt": 5}})} == {"1", "2"}
    assert [item.key for item in store.search(ANA, filter={"answer": "North"})] == ["1"]
    assert store.search(ANA, filter={"rank": {"$gt": "x"}}) == [] == store.search(ANA, filter={"no": None})
    with pytest.raises(UsageError, match=r"\$in"):
        store.search(ANA, filter={"rank": {"$in": [1]}})
    assert len(store.search(())) == 4 and len(store.search(BEN[:1])) == 1
    assert store.search(("ben",)) == [] == store.search(("ben k@example org",))  # a dot is no other sign
    assert store.list_namespaces() == [ANA, BEN]
    assert store.list_namespaces(prefix=("*", "coach")) == [BEN] == store.list_namespaces(suffix=("coach",))
    assert store.list_namespaces(max_depth=1) == [ANA, BEN[:1]] and store.list_namespaces(limit=1, offset=1) == [BEN]


def test_names_are_checked(store: MemoryStore) -> None:
    for namespace in ((), ("langgraph",), ("",), (5,)):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", HOME)
    with pytest.raises(UsageError, match="one to three"):
        store.put(("a", "b", "c", "d"), "k", HOME)
    assert store.memory.users() == []


def test_batches_and_graphs(store: MemoryStore) -> None:
    """As LangGraph itself uses it: operations past the methods, and in a graph that runs asynchronously."""
    from langgraph.graph import END, START, StateGraph

    done = asyncio.run(store.abatch([PutOp(ANA, "home", HOME), GetOp(ANA, "home"), GetOp(BEN, "home")]))
    assert done[0] is None and done[1].value == HOME and done[2] is None

    class State(TypedDict):
        found: Annotated[list[str], operator.add]

    async def node(_: State, *, store: BaseStore) -> State:
        await store.aput(BEN, "k", {"question": "Which cat?", "answer": "Tom"})
        return {"found": [item.value["answer"] for item in await store.asearch(BEN)]}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    graph = builder.compile(store=store)
    assert asyncio.run(graph.ainvoke({"found": []}))["found"] == ["Tom"]
