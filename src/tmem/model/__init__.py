"""A base model: loaded by name, with its chat format, generating and scoring for many memories at once.

Read in this order: ``load`` (and ``chat``, ``settings``), ``engine`` (and ``request``,
``stream``, ``prefill``, ``cache``, ``sampling``, ``json_stop``, ``grammar``), ``score``; engines elsewhere are in
``engines`` (and ``served``, ``servers``, ``llamacpp``, ``to_gguf``).
"""

from tmem.model.engine import Engine, HFEngine
from tmem.model.load import Model, load
from tmem.model.request import Completion, GenerationConfig, Request, Sampling, Voices
from tmem.model.score import logprobs
from tmem.model.settings import ModelSettings
from tmem.model.stream import Stream

__all__ = [
    "Completion",
    "Engine",
    "GenerationConfig",
    "HFEngine",
    "Model",
    "ModelSettings",
    "Request",
    "Sampling",
    "Stream",
    "Voices",
    "load",
    "logprobs",
]
