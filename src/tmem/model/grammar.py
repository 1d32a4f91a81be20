"""Holding an extraction to valid JSON while it is generated (optional: it changes the policy).

The grammar is an array of ``{"instruction": ..., "output": ...}`` objects. A finished array is always valid
JSON; one that runs into the token limit is still cut off, so the parser stays tolerant.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from tmem.errors import ModelError, UsageError

# Bounds on every length: without them a weak model can stay inside one string until its tokens run out.
_TEXT = {"type": "string", "minLength": 1, "maxLength": 600}
PAIRS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": 200,
    "items": {
        "type": "object",
        "properties": {"instruction": _TEXT, "output": _TEXT},
        "required": ["instruction", "output"],
        "additionalProperties": False,
    },
    # One fixed spacing, that of json.dumps, so that white space cannot run on either.
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
}


class PairsGrammar:
    """The grammar compiled for one tokenizer; make it once per model, and one :meth:`matcher` per generation.

    ``vocab`` is the width of the logits and ``stop_ids`` are the tokens that may end the text. Raises
    :class:`UsageError` without ``llguidance`` installed and :class:`ModelError` for a tokenizer it cannot
    read.
    """

    def __init__(self, tokenizer: Any, vocab: int, stop_ids: frozenset[int]) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError:
            raise UsageError("grammar-constrained extraction needs the extra json: pip install 'tmem[json]'") from None
        self.vocab = vocab
        self._new_matcher = llguidance.LLMatcher
        try:
            self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab, eos_token=sorted(stop_ids))
        except ValueError as error:
            raise ModelError(f"grammar-constrained extraction cannot read this model's tokenizer: {error}") from None
        self._grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(PAIRS_SCHEMA))

    def matcher(self) -> Any:
        """A fresh ``llguidance.LLMatcher``, which takes each token in turn with ``consume_token``."""
        matcher = self._new_matcher(self._tokenizer, self._grammar)
        if matcher.is_error():
            raise ModelError(f"the grammar does not fit this model's tokenizer: {matcher.get_error()}")
        return matcher

    def allowed(self, matchers: list[Any]) -> Tensor:
        """Which tokens each matcher allows next: (len(matchers), vocab) bool, on the CPU."""
        biases = b"".join(matcher.compute_logit_bias() for matcher in matchers)  # a byte per token, 0: forbidden
        return torch.frombuffer(bytearray(biases), dtype=torch.uint8).view(len(matchers), self.vocab) > 0
