"""The decision process: working context, extraction action, prompts, episodes.

Read ``context`` (when to write), ``prompts`` (what the model is asked), ``extraction`` (what its reply gave),
``rollout`` (one episode), ``search`` (one that looks for its answers), ``agent`` (many at once).
"""

from tmem.agent.agent import Agent, Progress
from tmem.agent.episode import Ask, Episode, SearchGame
from tmem.agent.rollout import Call, MemoryPolicy, Rollout, Route, Steps, WriteJob
from tmem.agent.trajectory import Action, Trajectory, Write
from tmem.model.request import Sampling

__all__ = [
    "Action",
    "Agent",
    "Ask",
    "Call",
    "Episode",
    "MemoryPolicy",
    "Progress",
    "Rollout",
    "Route",
    "Sampling",
    "SearchGame",
    "Steps",
    "Trajectory",
    "Write",
    "WriteJob",
]
