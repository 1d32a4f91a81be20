"""The persona benchmark: fresh conversations, whole episodes, answers and extractions scored against gold."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from tmem.agent.episode import Agent
from tmem.agent.trajectory import Trajectory
from tmem.evaluation.gold import GoldExtraction
from tmem.evaluation.scores import by_kind, mean, score
from tmem.model import HFEngine
from tmem.tasks.locomo import Conversation, episode, parse_sample
from tmem.tasks.persona import make_sample
from tmem.tasks.scoring import exact_match, normalize

FACTS_PER_SESSION = 4


def conversations(seed: int, episodes: int, facts: int, people: Literal["seen", "unseen"]) -> list[Conversation]:
    """The benchmark's conversations: four facts a session."""
    sessions = max(1, facts // FACTS_PER_SESSION)
    return [parse_sample(make_sample(seed, index, sessions, facts, people)) for index in range(episodes)]


def evaluate(
    agent: Agent,
    facts: int,
    episodes: int,
    people: Literal["seen", "unseen"] = "unseen",
    progress: Callable[[str, int, int], None] | None = None,
    gold: bool = False,
) -> dict[str, Any]:
    """Live through ``episodes`` conversations of ``facts`` facts each and score them.

    ``agent.seed`` also chooses the conversations. ``gold``: the gold pairs of every session are written instead
    of the extracted ones, so that memory is measured alone. Scores are 0 to 1; ``extraction`` is ``None`` for a
    memory that does not extract.
    """
    started = time.perf_counter()
    worlds = conversations(agent.seed, episodes, facts, people)
    if gold:
        engine = GoldExtraction(HFEngine(agent.model), worlds)
        agent = replace(agent, budget=1, at_once=episodes, engine=engine, question_known=False)
    official = agent.prompts.official_questions
    streams = [episode(world, world.questions, official, agent.seed) for world in worlds]
    trajectories = agent.run(streams, progress)
    scored = score(worlds, trajectories, official, agent.seed)
    return {
        "model": agent.model.name,
        "memory": agent.memory,
        "recipe": agent.recipe.name if agent.memory == "tmem" else None,
        "lr": agent.recipe.lr if agent.memory == "tmem" else None,
        "facts": facts,
        "episodes": episodes,
        "seed": agent.seed,
        "people": people,
        "gold": gold,
        "em": mean(item.em for item in scored),
        "f1": mean(item.f1 for item in scored),
        "by_category": by_kind(scored),
        "extraction": extraction_scores(worlds, trajectories) if agent.memory == "tmem" else None,
        "triggers": mean(len(trajectory.writes) for trajectory in trajectories),
        "delta_ratio": mean(t.writes[-1].account.delta_ratio for t in trajectories if t.writes),
        "seconds": time.perf_counter() - started,
    }


def extraction_scores(worlds: Sequence[Conversation], trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Recall and precision of extracted pairs against the facts told, and the share of valid JSON.

    A pair is right if it asks the fact's own question (so it names the right person) and has its value. A fact
    that is updated in the same trigger context need not be extracted.
    """
    worlds_by_id = {world.id: world for world in worlds}
    told = found = pairs = right = valid = replies = 0
    for trajectory in trajectories:
        facts = worlds_by_id[trajectory.episode].facts
        units = [session.index for session in worlds_by_id[trajectory.episode].sessions]
        for write in trajectory.writes:
            read = {units[unit] for unit in write.units}
            gold: dict[str, str] = {}
            for fact in facts:
                if fact["session"] in read:
                    gold[normalize(fact["question"])] = fact["answer"]
            hits = [
                normalize(pair.question)
                for pair in write.pairs
                if exact_match(pair.answer, gold.get(normalize(pair.question), "\0")) and normalize(pair.answer)
            ]
            told, found = told + len(gold), found + len(set(hits))
            pairs += len(write.pairs)
            right += len(hits)
            valid += write.status in ("ok", "empty")
            replies += 1
    return {
        "recall": found / max(told, 1),
        "precision": right / max(pairs, 1),
        "valid_json": valid / max(replies, 1),
    }
