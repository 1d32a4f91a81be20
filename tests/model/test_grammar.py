"""Grammar-constrained extraction: even a random model writes valid JSON; a missing extra is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tmem.errors import UsageError
from tmem.model import HFEngine, Model, Request, grammar, logprobs


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds small enough for a random model to reach the end."""
    pytest.importorskip("llguidance")
    text = {"type": "string", "minLength": 1, "maxLength": 6}
    items = {**grammar.PAIRS_SCHEMA["items"], "properties": {"instruction": text, "output": text}}
    monkeypatch.setattr(grammar, "PAIRS_SCHEMA", {**grammar.PAIRS_SCHEMA, "items": items, "maxItems": 3, "minItems": 1})


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("stop", ["eos", "json"])
def test_random_model_writes_valid_json(stop: str, loaded: Callable[[str], Model]) -> None:
    model = loaded("qwen3")
    requests = [
        Request(
            (5, 6, 7, 8)[: seed + 1],
            max_new_tokens=120,
            temperature=float(seed > 0),
            seed=seed,
            stop=stop,  # type: ignore[arg-type]
            grammar=seed < 3,
        )
        for seed in range(4)
    ]
    completions = HFEngine(model).generate(requests)
    for completion in completions[:3]:
        pairs = json.loads(completion.text)
        assert completion.finish == ("stop" if stop == "eos" else "json")
        assert all(set(pair) == {"instruction", "output"} for pair in pairs)
    # The row beside them is free, and log-probs are the policy's own, not the grammar's.
    assert completions[3].ids == HFEngine(model).generate(requests[3:])[0].ids
    scores = logprobs(model, [request.prompt_ids for request in requests], [c.ids for c in completions])
    for score, completion in zip(scores, completions, strict=True):
        assert score.tolist() == pytest.approx(completion.logprobs, abs=2e-4)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_random_model_keeps_to_a_callers_schema(temperature: float, loaded: Callable[[str], Model]) -> None:
    pytest.importorskip("llguidance")
    schema = json.dumps(SCHEMA)
    grammar.check_schema(schema)
    asked = [Request((5, 6, 7), max_new_tokens=60, temperature=temperature, seed=n, schema=schema) for n in range(3)]
    for completion in HFEngine(loaded("qwen3")).generate([*asked, Request((5, 6), max_new_tokens=3)])[:3]:
        found = json.loads(completion.text)
        assert completion.finish == "stop" and set(found) == {"name", "age"}
        assert len(found["name"]) <= 5 and 0 <= found["age"] <= 99


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "nothing"}, "Invalid type"),
        ({"allOf": [{"type": "string"}, {"type": "number"}]}, "Unsatisfiable"),
        ({"$ref": "http://example.com/schema"}, "not present"),
        ({"description": "x" * grammar.MOST}, "characters at most"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused_in_one_line(schema: dict[str, Any], said: str) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(UsageError, match=said) as error:
        grammar.check_schema(json.dumps(schema))
    assert "\n" not in str(error.value)


def test_the_real_bounds_compile(loaded: Callable[[str], Model]) -> None:
    pytest.importorskip("llguidance")
    model = loaded("llama")
    (completion,) = HFEngine(model).generate([Request((5, 6), max_new_tokens=9, grammar=True)])
    assert completion.text.startswith("[")


def test_missing_package_names_the_extra(loaded: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UsageError, match=r"tmem\[json\]"):
        grammar.check_schema("{}")
    with pytest.raises(UsageError, match=r"tmem\[json\]"):
        HFEngine(loaded("qwen3")).generate([Request((5, 6), grammar=True)])


def test_allowed_is_a_mask_over_the_vocabulary(loaded: Callable[[str], Model]) -> None:
    pytest.importorskip("llguidance")
    model = loaded("qwen3")
    made = grammar.Grammar(model.tokenizer, 384, model.stop_ids)
    mask = made.allowed([made.matcher(), made.matcher()])
    assert (mask.shape, mask.dtype) == ((2, 384), torch.bool)
    assert all(model.decode([token]).startswith("[") for token in mask[0].nonzero()[:, 0].tolist())
