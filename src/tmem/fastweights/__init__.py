"""The paper's core: a frozen basis A, the B of many memories, and the write that trains B.

Read in this order: ``sites`` (where), ``basis`` (A), ``delta`` (B and the hooks), ``replay`` (trunk once),
``recipe``, ``pool`` (examples as batches), ``write`` (online SFT).
"""

from tmem.fastweights.basis import Basis, weights_hash
from tmem.fastweights.delta import Delta, FastWeights
from tmem.fastweights.pool import Example
from tmem.fastweights.rate import PROBE, Probe, probe
from tmem.fastweights.recipe import RECIPES, Recipe, get_recipe
from tmem.fastweights.replay import TailReplay
from tmem.fastweights.sites import Site, decoder, find_sites
from tmem.fastweights.write import WRITE_VERSION, Dropped, WriteAccount, unusable, write

__all__ = [
    "PROBE",
    "RECIPES",
    "WRITE_VERSION",
    "Basis",
    "Delta",
    "Dropped",
    "Example",
    "FastWeights",
    "Probe",
    "Recipe",
    "Site",
    "TailReplay",
    "WriteAccount",
    "decoder",
    "find_sites",
    "get_recipe",
    "probe",
    "unusable",
    "weights_hash",
    "write",
]
