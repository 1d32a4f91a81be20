"""The decision process: working context, extraction action, prompts, episodes.

Read ``context`` (when to write), ``prompts`` (what the model is asked), ``extraction`` (what its reply gave), ``life``
(one episode), ``search`` (one that looks for its answers), ``lives`` (many at once).
"""

from tmem.agent.agent import Agent, Pulse
from tmem.agent.episode import Ask, Episode, SearchGame
from tmem.agent.rollout import Sampling

__all__ = ["Agent", "Ask", "Episode", "Pulse", "Sampling", "SearchGame"]
