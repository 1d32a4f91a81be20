"""Multi-objective search: composites, corpora, the retriever's route."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tmem.errors import DataError, EngineError, UsageError
from tmem.tasks.scoring import SCORERS
from tmem.tasks.search import INSTRUCTIONS, Corpus, RemoteRetriever, Search, compose, prompt

PASSAGES = [
    {"id": "0", "contents": '"A (novel)"\nA is a novel written by Ann in 1900.'},
    {"id": "1", "contents": '"Bergen"\nBergen is a town by the sea.\nIt rains there.'},
    {"id": "2", "contents": '"Cats"\nCats sleep all day.'},
    {"id": "3", "contents": '"Dogs"\nDogs bark.'},
]
QUESTIONS = [{"question": f"who wrote {n}", "golden_answers": [f"X{n}", "Mr X"]} for n in range(5)]


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", PASSAGES)


def test_composites_are_consecutive_questions_of_one_source() -> None:
    rows = [{"question": q, "golds": (q,), "source": s} for q, s in zip("abcdefg", "nnnhhhh", strict=True)]
    found = compose(rows, 2)
    assert [c.text for c in found] == ["a?; b?", "d?; e?", "f?; g?"]  # the remainder of a source is dropped
    assert [c.id for c in found] == ["n:0", "h:0", "h:1"] and found[1].golds == (("d",), ("e",))


def test_a_benchmark_of_single_questions(tmp_path: Path, corpus: Path) -> None:
    bench = Search(write(tmp_path / "nq.jsonl", QUESTIONS), True, corpus=corpus, objectives=2, turns=3)
    tasks = list(bench.tasks(1))
    assert bench.count(1) == len(tasks) == 2 and bench.count(1, 1) == 1
    [item] = tasks[0].items
    assert item.gold == (("X0", "Mr X"), ("X1", "Mr X")) and item.category == "nq"
    game = tasks[0].episode.search
    assert game is not None and game.turns == 3 and tasks[0].episode.asks[0].text == "who wrote 0?; who wrote 1?"
    reply = "<think>x</think><answer>draft</answer> <answer> X0; mr x </answer>"
    prediction = bench.prediction(item, reply, 1)
    assert prediction == "X0; mr x" and bench.prediction(item, "no answer", 1) == ""
    assert all(SCORERS[name](prediction, item.gold, None).em == 1 for name in bench.scorers)
    assert bench.identity()["corpus"]["file"] == "corpus.jsonl" and bench.identity()["objectives"] == 2


def test_finished_composites_of_mem1(tmp_path: Path, corpus: Path) -> None:
    record = {
        "data_source": "nq",
        "prompt": [{"role": "user", "content": "RULES. Answer the following questions: who wrote A?; where is B?"}],
        "reward_model": {"style": "rule", "ground_truth": {"target": [["X", "Mr X"], ["Y"]]}},
    }
    path = write(tmp_path / "mem1.jsonl", [record])
    [composite] = Search(path, True, corpus=corpus, objectives=2).composites
    assert composite.text == "who wrote A?; where is B?" and composite.golds == (("X", "Mr X"), ("Y",))
    with pytest.raises(DataError, match="give --objectives 2"):
        Search(path, True, corpus=corpus, objectives=4)


def test_what_a_search_finds(corpus: Path) -> None:
    text = Corpus(corpus).find("who wrote the novel A")
    assert text.startswith('Doc 1(Title: "A (novel)") A is a novel written by Ann in 1900.\nDoc 2(Title: ')
    assert text.count("Doc ") == 3
    assert "It rains there." in Corpus(corpus).find("Bergen sea").splitlines()[0] + Corpus(corpus).find("Bergen sea")


def test_instructions_come_before_the_questions_and_the_memory_after_them() -> None:
    [message] = prompt("Q1?; Q2?", "")
    assert message["content"] == INSTRUCTIONS + "Q1?; Q2?"
    assert prompt("Q", "known things")[0]["content"].endswith("known things")
    for tag in ("<think>", "<search>", "<answer>", "<information>"):
        assert tag in INSTRUCTIONS


# ---- the route of MEM1's retriever, over a real socket ----


@contextmanager
def retriever(*replies: tuple[int, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives these (status, JSON) in turn, the last one for ever; and what it was asked."""
    left, asked = list(replies), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, json.loads(body)))
            status, value = left.pop(0) if len(left) > 1 else left[0]
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


GOOD = {"result": [[{"document": PASSAGES[1], "score": 0.9}]]}


def test_the_route_is_asked_and_shown_as_a_search() -> None:
    with retriever((200, GOOD)) as (url, asked):
        text = RemoteRetriever(url).find("bergen")
    assert text == 'Doc 1(Title: "Bergen") Bergen is a town by the sea.\nIt rains there.\n'
    assert asked == [("/retrieve", {"queries": ["bergen"], "topk": 3, "return_scores": True})]


def test_a_server_that_stumbles_is_asked_again() -> None:
    waits: list[float] = []
    with retriever((500, {}), (429, {}), (200, GOOD)) as (url, asked):
        assert "Bergen" in RemoteRetriever(url + "/retrieve", wait=waits.append).find("x")
    assert len(asked) == 3 and waits == [2.0, 4.0]


@pytest.mark.parametrize("reply", [(500, {}), (200, {"result": []}), (200, [1]), (404, {})])
def test_a_server_that_does_not_answer_is_one_line(reply: tuple[int, Any]) -> None:
    with retriever(reply) as (url, _), pytest.raises(EngineError, match="start it, or check the URL") as error:
        RemoteRetriever(url, wait=lambda _: None).find("x")
    assert "\n" not in str(error.value)
    with pytest.raises(EngineError, match="start it, or check the URL"):
        RemoteRetriever("http://127.0.0.1:9", wait=lambda _: None).find("x")


# ---- the hub ----


def test_questions_of_the_hub(monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    fake = ModuleType("datasets")

    def load_dataset(path: str, config: str, split: str) -> list[dict[str, Any]]:
        if split == "none":
            raise ValueError("no such split\nsecond line")
        if split == "dates":
            return [{**row, "golden_answers": [datetime(2023, 5, 8)]} for row in QUESTIONS]
        assert path == "owner/name" and split == {"nq": "test", "hotpotqa": "dev"}[config]
        return QUESTIONS

    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    splits = {"nq": ["train", "dev", "test"], "hotpotqa": ["train", "dev"]}
    fake.get_dataset_split_names = lambda path, config: splits[config]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    bench = Search("owner/name:nq:test", True, corpus=corpus, objectives=5)
    assert len(bench.composites) == 1 and bench.composites[0].source == "nq"
    both = Search("owner/name:nq,hotpotqa:test", True, corpus=corpus, objectives=5)
    assert sum(len(composite.golds) for composite in both.composites) == 2 * 5
    assert both.identity()["file"] == "owner/name:nq:test,hotpotqa:dev"
    with pytest.raises(DataError, match="cannot be loaded from the hub") as error:
        Search("owner/name:nq:none", True, corpus=corpus)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"nq, row 0: .* dates, .* give the set's own file"):
        Search("owner/name:nq:dates", True, corpus=corpus)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"tmem\[hub\]"):
        Search("owner/name:nq:test", True, corpus=corpus)


# ---- bad input ----


def test_files_that_cannot_be_used(tmp_path: Path, corpus: Path) -> None:
    good = write(tmp_path / "q.jsonl", QUESTIONS)
    for records, problem in (
        ([{"question": "", "golden_answers": ["a"]}], "line 1: 'question' must be non-empty text"),
        ([{"question": "q", "golden_answers": []}], "'golden_answers' has no accepted answer"),
        ([[1]], "line 1: not a JSON object"),
        (QUESTIONS[:1], "too few questions"),
        ([*QUESTIONS, {"reward_model": {}}], "line 6: not a record of MEM1"),
    ):
        with pytest.raises(DataError, match=problem):
            Search(write(tmp_path / "bad.jsonl", records), True, corpus=corpus, objectives=2)
    for passages, problem in (([{"id": "0"}], "line 1: 'contents' must be text"), ([], "no passages in it")):
        with pytest.raises(DataError, match=problem):
            Search(good, True, corpus=write(tmp_path / "bad-corpus.jsonl", passages), objectives=2)
    with pytest.raises(DataError, match="no such file"):
        Search(tmp_path / "none", True, corpus=corpus)
    for where in ({}, {"corpus": corpus, "retriever_url": "http://x"}):
        with pytest.raises(UsageError, match="either --corpus"):
            Search(good, True, **where)  # type: ignore[arg-type]
