"""The paper's core: a frozen basis A, the B of many memories, and the write that trains B.

Read in this order: ``target_modules`` (where), ``basis`` (A), ``delta`` (B and the hooks), ``replay`` (trunk once),
``recipe``, ``dataset`` (examples as batches), ``write`` (online SFT as published), ``fresh`` (the write from B = 0)
and ``blocks`` (which pairs share a B).
"""

from tmem.fastweights.account import Dropped, WriteAccount
from tmem.fastweights.basis import Basis, weights_hash
from tmem.fastweights.dataset import Example, unusable
from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.fresh import Course, Lesson, write_fresh
from tmem.fastweights.rate import PROBE, Probe, probe
from tmem.fastweights.recipe import RECIPES, Fresh, Recipe, get_recipe
from tmem.fastweights.replay import TailReplay
from tmem.fastweights.target_modules import TargetModule, decoder, find_target_modules
from tmem.fastweights.write import WRITE_VERSION, write

__all__ = [
    "PROBE",
    "RECIPES",
    "WRITE_VERSION",
    "Basis",
    "Course",
    "Delta",
    "Dropped",
    "Example",
    "FastWeights",
    "Fresh",
    "Lesson",
    "Probe",
    "Recipe",
    "TailReplay",
    "TargetModule",
    "WriteAccount",
    "decoder",
    "find_target_modules",
    "get_recipe",
    "probe",
    "unusable",
    "weights_hash",
    "write",
    "write_fresh",
]
