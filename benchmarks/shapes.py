"""The models that are measured, and what they are given to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tmem.agent import Agent, Episode
from tmem.agent.extraction import Extraction, QAPair
from tmem.agent.prompts import PROMPTS
from tmem.agent.rollout import Steps
from tmem.fastweights import Example, Recipe
from tmem.model import Model, load
from tmem.policies.weights import Weights
from tmem.seeds import generator
from tmem.tasks.persona import Persona

EXTRACT = 48  # tokens that a model with random weights writes as its extraction
QUESTIONS = 4  # of an episode


def now() -> float:
    """Seconds: of the processor, or of the clock where a CUDA device or several threads do the work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def small(dtype: str = "float32") -> Model:
    return load("persona-small", dtype=dtype)


def random_model(
    layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, head: int, vocabulary: int, dtype: str = "float32"
) -> Model:
    """Random weights with persona-small's tokenizer and prompts; what is cached of them lies in out/random."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head,
        tie_word_embeddings=True,
        max_position_embeddings=40_960,
    )
    like = small()
    settings = like.settings.model_copy(update={"lr": None, "max_new_tokens_extract": EXTRACT, "window": None})
    # Made in its dtype, not turned into it: that would round the rotation's frequencies, too.
    hf = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).to(like.device)
    model = Model("random", Path("out/random"), hf, like.tokenizer, settings)
    model.stop_ids = frozenset()  # type: ignore[misc]  # it writes to its limits, so that all runs do the same work
    return model


def qwen3_06b(dtype: str = "float32") -> Model:
    """Random weights in the exact shape of Qwen3-0.6B."""
    return random_model(28, 1024, 3072, 16, 8, 128, 151_936, dtype)


def qwen3_4b(dtype: str = "float32") -> Model:
    """Random weights in the exact shape of Qwen3-4B: for a GPU."""
    return random_model(36, 2560, 9728, 32, 8, 128, 151_936, dtype)


def smollm2_135m(dtype: str = "float32") -> Model:
    """Random weights in the shape of SmolLM2-135M, with norms of queries and keys besides."""
    return random_model(30, 576, 1536, 9, 3, 64, 49_152, dtype)


SHAPES = {"small": small, "135M": smollm2_135m, "0.6B": qwen3_06b, "4B": qwen3_4b}


def recipe_for(model: Model) -> Recipe:
    """The paper's five epochs of steps of 16 pairs; the rate of random weights is one that changes B visibly."""
    return model.recipe("paper") if model.name != "random" else model.recipe("paper", lr=1e-2)


def pairs(model: Model, count: int, user: int) -> list[Example]:
    """Pairs of random tokens in usual lengths: prompts of 20 to 28 tokens, answers of 2 to 8."""
    vocabulary, rng = model.hf.config.vocab_size, generator("pairs", user)
    made = []
    for number in range(count):
        ids = torch.randint(8, vocabulary, (36,), generator=rng).tolist()
        asked = 20 + number % 9
        made.append(Example(tuple(ids[:asked]), tuple(ids[asked : asked + 2 + number % 7]), str(number)))
    return made


def tokens(model: Model, count: int, name: object) -> tuple[int, ...]:
    """A text of random tokens."""
    return tuple(torch.randint(8, model.hf.config.vocab_size, (count,), generator=generator("text", name)).tolist())


class Told(Weights):
    """A model with random weights writes no pairs: it writes its extraction, and is given the gold pairs then."""

    name = "told"
    question_aware = False

    def extract(self, context: str, units: Sequence[int]) -> Steps[Extraction]:
        yield from super().extract(context, units)
        found = [QAPair(question, answer) for question, answer, unit in self.rollout.episode.gold if unit in set(units)]
        return Extraction(status="ok", pairs=found, dropped=[])


def agent_for(model: Model, recipe: Recipe | None = None) -> Agent:
    policy = Told if model.name == "random" else Weights
    prompts = PROMPTS[model.settings.prompts]
    return Agent(model, recipe or recipe_for(model), prompts, policy, model.settings.budget, False, write_tail=True)


def episodes(model: Model, count: int) -> list[Episode]:
    """Conversations of the persona world: eight facts in two sessions, four in one for a model with random weights."""
    random = model.name == "random"
    made = [task.episode for task in Persona(4 if random else 8, count, "seen").tasks(1)]
    return [replace(one, asks=one.asks[:QUESTIONS]) for one in made] if random else made
