"""The persona world: a synthetic LoCoMo with as many conversations as one likes."""

from tmem.tasks.persona.bench import FACTS_PER_SESSION, Persona
from tmem.tasks.persona.conversation import MAX_FACTS, make_sample, make_world
from tmem.tasks.persona.world import People

__all__ = ["FACTS_PER_SESSION", "MAX_FACTS", "People", "Persona", "make_sample", "make_world"]
