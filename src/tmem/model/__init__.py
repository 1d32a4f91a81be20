"""A base model: loaded by name, with its chat format, generating and scoring for many memories at once.

Read in this order: ``load`` (and ``chat``, ``settings``, ``assets``), ``engine`` (and ``sampling``,
``jsonstop``, ``grammar``), ``score``.
"""

from tmem.model.engine import Completion, Engine, HFEngine, Request
from tmem.model.load import Model, load
from tmem.model.score import logprobs
from tmem.model.settings import Settings

__all__ = ["Completion", "Engine", "HFEngine", "Model", "Request", "Settings", "load", "logprobs"]
