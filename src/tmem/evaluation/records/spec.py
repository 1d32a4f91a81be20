"""What an evaluation is: the benchmark, the model, how the agent runs; everything that changes a result."""

from __future__ import annotations

import atexit
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tmem.agent.agent import Agent
from tmem.errors import DataError, EngineError, UsageError
from tmem.files import read_json, write_json
from tmem.model import Model, load
from tmem.model.engines import open_engine
from tmem.model.load import Weights
from tmem.model.request import Sampling
from tmem.model.served import ServedEngine
from tmem.policies import make_agent
from tmem.retrieval import BM25, Dense, Embedder
from tmem.tasks.base import Benchmark
from tmem.tasks.clbench import ClBench
from tmem.tasks.everyday import Everyday
from tmem.tasks.locomo import LoCoMo
from tmem.tasks.longmemeval import LongMemEval
from tmem.tasks.persona import Persona
from tmem.tasks.personas import Personas
from tmem.tasks.seal import Seal
from tmem.tasks.search import Search
from tmem.tasks.written import Written

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "persona": Persona,
    "everyday": Everyday,
    "personas": Personas,
    "written": Written,
    "locomo": LoCoMo,
    "longmemeval": LongMemEval,
    "search": Search,
    "clbench": ClBench,
    "seal": Seal,
}
# Messages and passages, each of which is read by itself however short it is.
ONE_BY_ONE = ("everyday", "personas", "written", "seal")
NOTHING_LEFT = ("persona", *ONE_BY_ONE)  # but the memory, when it is asked; the others are read as published
# How tokens are chosen while the memory is built, and in answers. "published": as in the public reproduction of TMEM,
# which samples extractions as Qwen3 recommends and answers as LoCoMo's own script does.
DECODING = {
    "greedy": (Sampling(), Sampling()),
    "published": (Sampling(0.7, 0.8, 20), Sampling(0.4, 0.9, 10)),
}


@dataclass(frozen=True)
class Spec:
    """One evaluation; plain values only, so that it can be handed to other processes."""

    bench: str
    options: dict[str, Any]  # of the benchmark
    model: str
    recipe: str = "tmem"
    changes: dict[str, Any] = field(default_factory=dict)  # of the recipe's fields
    budget: int | None = None
    question_known: bool | None = None
    write_tail: bool = False
    decoding: Literal["greedy", "published"] = "greedy"
    top_k: int = 10
    whole_units: bool = False
    embedder: str | None = None  # None: BM25
    grammar: bool = False
    extractions: int = 1
    engine: str | None = None  # None: the model's own loop
    weights: Weights = "auto"  # what decoding on a CPU reads

    def load(self) -> Model:
        return load(self.model, weights=self.weights)

    def benchmark(self, model: Model) -> Benchmark:
        """Raises :class:`UsageError` or :class:`DataError` for options and data that cannot be used."""
        official = make_agent(model).prompts.official_questions
        return BENCHMARKS[self.bench](**self.options, official=official)

    def agent(self, model: Model, memory: str, seed: int) -> Agent:
        """The agent of one memory and seed."""
        building, answering = DECODING[self.decoding]
        agent = make_agent(
            model,
            model.recipe(self.recipe, **self.changes),
            memory,
            seed=seed,
            building=building,
            answering=answering,
            write_tail=self.write_tail,
            top_k=self.top_k,
            whole_units=self.whole_units,
            write_once=True,
            retriever=self._retriever(),
            grammar=self.grammar,
            extractions=self.extractions,
            engine=None if self.engine is None else _engine(model, self.engine),
            strict=False,
        )
        if self.question_known is not None:
            agent = replace(agent, question_known=self.question_known)
        if memory == "mem1" and self.bench != "search":
            raise UsageError("mem1 is a memory for searching: for a stream of text use memagent")
        return agent if self.budget is None else replace(agent, budget=self.budget)

    def recipe_sha256(self, model: Model) -> str:
        """What tells recipes apart that have one name: rate, rank and all the rest."""
        settings = model.recipe(self.recipe, **self.changes).model_dump_json()
        return hashlib.sha256(settings.encode()).hexdigest()

    def _retriever(self) -> Callable[[Sequence[str]], Any]:
        if self.embedder is None:
            return BM25
        embedder = _embedder(self.embedder)
        return lambda texts: Dense(texts, embedder)

    def describe(self, model: Model, bench: Benchmark) -> dict[str, Any]:
        """What run.json says: all that a result depends on but memory and seed."""
        agent = self.agent(model, "tmem", 0)
        return {
            "bench": self.bench,
            "data": bench.identity(),
            "model": model.name,
            "model_hash": model.identity,
            "parameters": model.hf.num_parameters(),
            "prompts": agent.prompts.name,
            "taught": agent.prompts.taught,
            "recipe": agent.recipe.model_dump(),
            "settings": {
                "budget": agent.budget,
                "window": model.window,
                "question_known": agent.question_known,
                "write_tail": agent.write_tail,
                "decoding": {"building": asdict(agent.building), "answering": asdict(agent.answering)},
                "top_k": agent.top_k,
                "notes": "units" if agent.whole_units else "parts of units",
                "retriever": self.embedder or "bm25",
                "grammar": agent.grammar,
                "extractions": agent.extractions,
                **({} if self.engine is None else {"engine": self.engine}),
                **({} if self.weights == "auto" else {"weights": self.weights}),
                "device": model.device.type,
                "dtype": model.dtype,
                "max_new_tokens": {
                    "extract": model.settings.max_new_tokens_extract,
                    "memory": model.settings.max_new_tokens_memory,
                    "answer": model.settings.max_new_tokens_answer,
                },
            },
            "version": version("tmem"),
        }


def reading(bench: str, budget: int | None = None, write_tail: bool | None = None) -> dict[str, Any]:
    """A benchmark's ``budget`` and ``write_tail`` of :class:`Spec`, where nothing else is said."""
    return {
        "budget": 1 if budget is None and bench in ONE_BY_ONE else budget,
        "write_tail": bench in NOTHING_LEFT if write_tail is None else write_tail,
    }


@lru_cache(maxsize=1)
def _embedder(name: str) -> Embedder:
    """Loaded once, with all that it has embedded."""
    return Embedder(name)


@lru_cache(maxsize=1)
def _engine(model: Model, where: str) -> ServedEngine:
    """Opened once in a process, and closed when that ends."""
    engine = open_engine(model, where)

    def close() -> None:
        with suppress(EngineError):  # it has ended before
            engine.close()

    atexit.register(close)
    return engine


def open_run(folder: Path, description: dict[str, Any], command: str, name: str = "run.json") -> None:
    """Write what a run is, or check that the folder's is this one. Raises :class:`DataError` naming the difference."""
    path = folder / name
    if not path.exists():
        write_json(path, {**description, "command": command})
        return
    there = read_json(path)
    if not isinstance(there, dict):
        raise DataError(f"{path}: not a run of tmem eval; give another --out")
    for key, value in json.loads(json.dumps(description)).items():
        if there.get(key) != value:
            raise DataError(
                f"{folder}: holds another run ({_difference(key, there.get(key), value)}); "
                "give another --out, or the old settings"
            )


def _difference(name: str, old: Any, new: Any) -> str:
    """The first difference of two values, by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in [*old, *new] if old.get(key) != new.get(key))
        return _difference(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} is {old}, now {new}"
