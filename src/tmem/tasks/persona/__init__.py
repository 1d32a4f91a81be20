"""The persona world: a synthetic LoCoMo with as many conversations as one likes."""

from tmem.tasks.persona.world import MAX_FACTS, People, make_sample, make_world

__all__ = ["MAX_FACTS", "People", "make_sample", "make_world"]
