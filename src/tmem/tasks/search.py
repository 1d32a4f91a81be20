"""Several questions at once, to be answered by searching (the multi-objective task of MEM1, arXiv 2506.15841).

Questions come from a file or a data set of the Hugging Face hub (``RUC-NLPIR/FlashRAG_datasets``); passages from a
JSONL corpus that is searched here with BM25, or from a server that speaks MEM1's ``/retrieve``.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode, SearchGame
from tmem.agent.prompts import Message
from tmem.errors import DataError, EngineError, UsageError, first_line
from tmem.files import read_jsonl, without_surrogates
from tmem.retrieval import BM25
from tmem.seeds import derive
from tmem.tasks.base import Item, Task
from tmem.tasks.sources import identity

HITS = 3  # passages that a search shows
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

INSTRUCTIONS = """\
Answer several questions by reasoning, summarising and searching, step by step. In each step you see the questions \
and, after the first one, your summary so far, your last query and what it found.

Every step has two parts:
1. Reason inside <think>...</think>, and rewrite there a concise summary of all that you know so far. It is your only \
lasting memory: carry over all that matters from the earlier <think> and <information>.
2. Then do exactly one of these:
   - search with one short query of keywords about one of the questions: <search>keywords</search>
   - when all questions are answered, give the final answers, concise, without explanation and separated by \
semicolons: <answer>answer 1; answer 2; ...</answer>

Always <think> first, then <search> or <answer>, and never several queries in one step.

Answer the following questions: """


@dataclass(frozen=True)
class Composite:
    """k questions in one, with the accepted answers of each."""

    id: str
    text: str
    golds: tuple[tuple[str, ...], ...]
    source: str


class Search:
    """The benchmark: composites of ``objectives`` questions from a file or hub data set, and where to search.

    ``questions`` is a JSONL file of ``{"question", "golden_answers"}`` (composed here) or of finished composites in
    MEM1's record format, or ``OWNER/NAME:CONFIG[,CONFIG]:SPLIT`` of the hub. One of ``corpus`` and ``retriever_url`` is
    needed. The composites come in a shuffled order that is always the same, so that the first N are a sample of all
    sources.
    """

    name = "search"
    scorers: tuple[str, ...] = ("ordered_list", "mem1")

    def __init__(
        self,
        questions: str | Path,
        official: bool,
        corpus: str | Path | None = None,
        retriever_url: str | None = None,
        objectives: int = 4,
        turns: int = 10,
    ) -> None:
        """Raises :class:`UsageError` or :class:`DataError` in one line."""
        if (corpus is None) == (retriever_url is None):
            raise UsageError("searching needs either --corpus (passages, JSONL) or --retriever-url")
        self.objectives, self.turns, self.retriever_url = objectives, turns, retriever_url
        if Path(questions).is_file():
            found = read_questions(Path(questions), objectives)
            self._identity = identity(questions)
        elif str(questions).count(":") == 2:
            rows, taken = hub_rows(str(questions))
            found = compose(rows, objectives)
            self._identity = {"file": taken, "sha256": fingerprint(found)}
        else:
            raise DataError(
                f"{questions}: no such file; give JSONL, or OWNER/NAME:CONFIG[,CONFIG]:SPLIT of a hub data set"
            )
        if not found:
            raise DataError(f"{questions}: too few questions to compose {objectives} at a time")
        self.composites = sorted(found, key=lambda composite: derive("search", composite.id))
        if corpus is not None:
            self.find: Callable[[str], str] = Corpus(corpus).find
            self._identity["corpus"] = identity(corpus)
        else:
            self.find = RemoteRetriever(str(retriever_url)).find

    def identity(self) -> dict[str, Any]:
        return {**self._identity, "objectives": self.objectives, "turns": self.turns, "retriever": self.retriever_url}

    def count(self, seed: int, limit: int | None = None) -> int:
        return len(self.composites[:limit])

    def tasks(self, seed: int) -> Iterator[Task]:
        for composite in self.composites:
            yield Task(
                Episode(
                    id=composite.id,
                    units=(),
                    asks=(Ask(composite.id, composite.text),),
                    answer_prompt=prompt,
                    search=SearchGame(self.find, self.turns),
                ),
                (Item(composite.id, composite.text, composite.golds, composite.source),),
            )

    def prediction(self, item: Item, reply: str, seed: int) -> str:
        """The last answer of the reply, "" if there is none."""
        found = _ANSWER.findall(reply)
        return found[-1].strip() if found else ""


def prompt(question: str, memory: str) -> list[Message]:
    """The instructions, the questions, and what a memory recalls."""
    recalled = f"\n\nWhat you remember of earlier steps:\n{memory}" if memory else ""
    return [{"role": "user", "content": INSTRUCTIONS + question + recalled}]


# ---- questions ----


def compose(rows: Sequence[dict[str, Any]], objectives: int) -> list[Composite]:
    """Consecutive groups of ``objectives`` questions of one source, in order; the rest of a source is left out."""
    sources: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        sources.setdefault(row["source"], []).append(row)
    composites = []
    for source, own in sources.items():
        for start in range(0, len(own) - objectives + 1, objectives):
            part = own[start : start + objectives]
            texts = [row["question"] if row["question"].endswith("?") else row["question"] + "?" for row in part]
            golds = tuple(row["golds"] for row in part)
            composites.append(Composite(f"{source}:{start // objectives}", "; ".join(texts), golds, source))
    return composites


def fingerprint(composites: Sequence[Composite]) -> str:
    """The sha256 of questions that come without a file of their own."""
    return hashlib.sha256(repr([(c.id, c.text, c.golds) for c in composites]).encode()).hexdigest()


def read_questions(path: Path, objectives: int) -> list[Composite]:
    """Questions to compose, or composites in MEM1's record format; all lines of one kind."""
    rows: list[dict[str, Any]] = []
    composites: list[Composite] = []
    for number, (where, record) in enumerate(read_jsonl(path)):
        if "reward_model" in record:
            composites.append(_composite(record, number, where))
        else:
            rows.append(_row(record, path.stem, where))
    if rows and composites:
        raise DataError(f"{path}: single questions and composites are mixed; put them into two files")
    if any(len(composite.golds) != objectives for composite in composites):
        odd = next(composite for composite in composites if len(composite.golds) != objectives)
        raise DataError(f"{path}: {odd.id} has {len(odd.golds)} questions; give --objectives {len(odd.golds)}")
    return composites or compose(rows, objectives)


def _row(record: dict[str, Any], source: str, where: str) -> dict[str, Any]:
    question, golds = record.get("question"), record.get("golden_answers")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: 'question' must be non-empty text")
    return {
        "question": without_surrogates(question).strip(),
        "golds": _aliases(golds, f"{where}: 'golden_answers'"),
        "source": without_surrogates(str(record.get("source") or source)),
    }


def _composite(record: dict[str, Any], number: int, where: str) -> Composite:
    """One record of MEM1's own files; its prompt holds the instructions before the questions."""
    try:
        text = record["prompt"][0]["content"]
        targets = record["reward_model"]["ground_truth"]["target"]
        source = without_surrogates(str(record.get("data_source", "unknown")))
    except (KeyError, IndexError, TypeError):
        raise DataError(f"{where}: not a record of MEM1 (prompt, reward_model.ground_truth.target)") from None
    questions = text.rpartition("Answer the following questions:")[2].strip() if isinstance(text, str) else ""
    if not questions or not isinstance(targets, list) or not targets:
        raise DataError(f"{where}: 'prompt' must hold the questions and 'target' a list of lists of answers")
    golds = tuple(_aliases(own, f"{where}: 'target'") for own in targets)
    return Composite(f"{source}:{number}", without_surrogates(questions), golds, source)


def _aliases(values: Any, where: str) -> tuple[str, ...]:
    """The accepted answers to one question; blank ones would make a missing answer right."""
    if isinstance(values, list) and any(isinstance(value, date) for value in values):  # no longer as they are written
        raise DataError(f"{where} are dates, which the package datasets makes times; give the set's own file instead")
    if not isinstance(values, list) or not all(isinstance(v, str | int | float) for v in values):
        raise DataError(f"{where} must be a list of accepted answers; correct it or remove the line")
    texts = tuple(without_surrogates(str(value)).strip() for value in values)
    if not any(texts):
        raise DataError(f"{where} has no accepted answer; add one or remove the line")
    return tuple(text for text in texts if text)


def hub_rows(name: str) -> tuple[list[dict[str, Any]], str]:
    """Rows of ``OWNER/NAME:CONFIG[,CONFIG]:SPLIT``, and which they are, each part with its split.

    A part without the split ``test`` gives its ``dev`` or ``validation``, else its ``train``. Raises
    :class:`UsageError` without the package ``datasets``.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{name}: data sets of the hub need the extra hub: pip install 'tmem[hub]'") from None
    path, configs, wanted = name.split(":")
    found, taken = [], []
    for config in configs.split(","):
        try:
            split = _split(datasets, path, config, wanted)
            rows = datasets.load_dataset(path, config, split=split)
        except Exception as error:  # no network, no such set, no such split: each with its own type
            raise DataError(f"{name}: cannot be loaded from the hub ({first_line(error)})") from None
        found += [_row(dict(row), config, f"{name}: {config}, row {number}") for number, row in enumerate(rows)]
        taken.append(f"{config}:{split}")
    return found, f"{path}:{','.join(taken)}"


def _split(datasets: Any, path: str, config: str, wanted: str) -> str:
    """As MEM1's files were made: the split test, of a part that has none dev, else train."""
    if wanted != "test":
        return wanted
    there = datasets.get_dataset_split_names(path, config)
    return next((split for split in ("test", "dev", "validation", "train") if split in there), wanted)


# ---- where to search ----


def show_hits(contents: Sequence[str]) -> str:
    """Passages as a search shows them. The first line of a passage is its title."""
    lines = []
    for number, text in enumerate(contents, start=1):
        title, _, rest = without_surrogates(text).partition("\n")
        lines.append(f"Doc {number}(Title: {title}) {rest}\n")
    return "".join(lines)


class Corpus:
    """Passages ``{"id", "contents"}``, one a line, found by BM25."""

    def __init__(self, path: str | Path) -> None:
        self.contents: list[str] = []
        for where, record in read_jsonl(path):
            if not isinstance(record.get("contents"), str):
                raise DataError(f"{where}: 'contents' must be text, its first line the title; add it")
            self.contents.append(record["contents"])
        if not self.contents:
            raise DataError(f'{path}: no passages in it; write one {{"id", "contents"}} per line')
        self.index = BM25(self.contents)

    def find(self, query: str) -> str:
        return show_hits([self.contents[i] for i in self.index.top(query, HITS)])


class RemoteRetriever:
    """MEM1's retriever: POST ``/retrieve`` with queries, back come documents with ``contents``."""

    TRIES = 4

    def __init__(self, url: str, wait: Callable[[float], None] = time.sleep) -> None:
        """``wait`` waits between tries. Raises :class:`UsageError` for a URL that cannot work, and without httpx."""
        try:
            import httpx
        except ImportError:
            raise UsageError("a retriever needs the extra eval: pip install 'tmem[eval]'") from None
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL("")
        if address.userinfo:  # it would be in every record and error
            raise UsageError("the retriever's URL holds a password; give one without")
        if address.scheme not in ("http", "https") or not address.host:
            raise UsageError(f"{url!r} is not the URL of a retriever; it looks like http://127.0.0.1:8013/retrieve")
        self.url = url.rstrip("/").removesuffix("/retrieve") + "/retrieve"
        self.wait = wait

    def find(self, query: str) -> str:
        """Raises :class:`EngineError` in one line if the server cannot be used, after some tries if it may recover.

        No fault of the episode that searches, which a run would record as one that cannot be run.
        """
        import httpx

        body = {"queries": [without_surrogates(query)], "topk": HITS, "return_scores": True}
        problem = ""
        for attempt in range(self.TRIES):
            if attempt:
                self.wait(2.0**attempt)
            try:
                reply = httpx.post(self.url, json=body, timeout=60)
                if reply.status_code == 200:
                    return show_hits([hit["document"]["contents"] for hit in reply.json()["result"][0][:HITS]])
                problem = f"HTTP {reply.status_code}"
                if reply.status_code < 500 and reply.status_code not in (408, 429):
                    break
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
                problem = "what it sent is not a list of documents with contents"
        raise EngineError(
            f"{self.url}: the retriever does not answer as expected ({' '.join(problem.split())}); start it, or check "
            "the URL, and give the same command again"
        )
