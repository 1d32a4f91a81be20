"""The decision process: working context, extraction action, prompts, episodes.

Read ``context`` (when to write), ``prompts`` (what the model is asked), ``extraction`` (what its reply gave),
``rollout`` (one episode), ``search`` (one that looks for its answers), ``agent`` (many at once).
"""

from tmem.agent.agent import Agent, Progress
from tmem.agent.episode import Ask, Episode, SearchGame
from tmem.model.request import Sampling

__all__ = ["Agent", "Ask", "Episode", "Progress", "Sampling", "SearchGame"]
