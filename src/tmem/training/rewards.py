"""What an episode was worth: the task's outcome, per question and as a whole (paper, RL)."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tmem.agent.trajectory import Trajectory
from tmem.errors import TmemError, UsageError
from tmem.evaluation.records.summary import mean
from tmem.tasks.base import Benchmark, Task
from tmem.tasks.scoring import SCORERS
from tmem.texts import is_none

# A user's own reward: (task, predictions by question id, trajectory) -> a number, or one for every question id.
OwnReward = Callable[[Task, dict[str, str], Trajectory], float | Mapping[str, float]]


class RewardError(TmemError):
    """A reward that cannot be used; the episode is dropped and named."""


@dataclass(frozen=True)
class Outcome:
    """The episode's reward, and those of its questions where it is their mean (else empty)."""

    reward: float
    by_question: Mapping[str, float]


@dataclass(frozen=True)
class Reward:
    """``name``: f1, em, or module:function. All that is taken off is off as published.

    ``wrong``: taken off a question of f1 or em for the part of its answer that is wrong, so that s becomes
    s - wrong (1 - s); a refusal stays what it is: 1 where nothing was told, else 0. ``invalid``: off the episode for an
    extraction that is no valid JSON, as a mean over extractions. ``pairs``: for every pair written per extraction.
    """

    name: str = "f1"
    invalid: float = 0.0
    pairs: float = 0.0
    wrong: float = 0.0

    def __call__(self, bench: Benchmark, task: Task, trajectory: Trajectory, seed: int) -> Outcome:
        """The outcome of a rollout of this task. Raises :class:`RewardError` if there is none."""
        items = [item for item in task.items if item.id in trajectory.answers]
        predictions = {item.id: bench.prediction(item, trajectory.answers[item.id], seed) for item in items}
        if self.name in ("f1", "em"):
            if not bench.scorers:
                raise UsageError(f"{bench.name} has no scorer of its own: give a reward as module:function")
            score = SCORERS[bench.scorers[0]]
            found: Any = {
                item.id: self._costing(
                    getattr(score(predictions[item.id], item.gold, item.category), self.name), predictions[item.id]
                )
                for item in items
            }
        else:
            try:
                found = own_reward(self.name)(task, predictions, trajectory)
            except UsageError:
                raise
            except (Exception, SystemExit) as error:  # a user's code: what it raises costs this episode and no more
                raise RewardError(f"{trajectory.episode}: the reward raised {type(error).__name__}: {error}") from None
        by_question = found if isinstance(found, Mapping) else {}
        try:
            by_question = {name: float(value) for name, value in by_question.items()}
            reward = mean(by_question.values()) if isinstance(found, Mapping) else float(found)
        except Exception:  # a tensor of several numbers, an int too large: each has an exception of its own
            shown = " ".join(repr(found).split())
            raise RewardError(f"{trajectory.episode}: the reward is no number but {shown:.60}") from None
        if isinstance(found, Mapping) and (not by_question or by_question.keys() != predictions.keys()):
            raise RewardError(
                f"{trajectory.episode}: the reward is of the questions {', '.join(map(str, by_question)) or 'none'}, "
                f"asked were {', '.join(predictions) or 'none'}"
            )
        if not all(map(math.isfinite, [reward, *by_question.values()])):
            raise RewardError(f"{trajectory.episode}: the reward is not finite")
        return Outcome(reward - self._penalty(trajectory), by_question)

    def _costing(self, score: float, prediction: str) -> float:
        return score if is_none(prediction) else score - self.wrong * (1 - score)

    def _penalty(self, trajectory: Trajectory) -> float:
        invalid = mean(float(write.status not in ("ok", "empty")) for write in trajectory.writes)
        return self.invalid * invalid + self.pairs * mean(len(write.pairs) for write in trajectory.writes)


def own_reward(name: str) -> OwnReward:
    """The function called ``module:function``; a module of the current folder is found too.

    Raises :class:`UsageError` if there is none.
    """
    module, _, function = name.partition(":")
    if not module or not function or module.startswith("."):
        raise UsageError(f"unknown reward '{name}': f1, em, or module:function")
    try:
        with _current_folder():
            found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # a user's code: its import can raise anything
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"reward '{name}' cannot be imported ({problem})") from None
    if not callable(found):
        raise UsageError(f"reward '{name}' is no function")
    own: OwnReward = found
    return own


def source_hash(name: str) -> str | None:
    """sha256 of the module that a reward of one's own is in; None for f1 and em, and where there is no source."""
    if name in ("f1", "em"):
        return None
    try:
        return hashlib.sha256(
            inspect.getsource(importlib.import_module(own_reward(name).__module__)).encode()
        ).hexdigest()
    except (AttributeError, ImportError, OSError, TypeError):
        return None


@contextmanager
def _current_folder() -> Iterator[None]:
    """Inside, modules of the current folder can be imported, as ``python -m`` has it."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove("")
