"""Holding a text to JSON while it is generated: extractions (optional: it changes the policy), or a caller's schema.

The grammar of extractions is an array of ``{"instruction": ..., "output": ...}`` objects. A finished array is always
valid JSON; one that runs into the token limit is still cut off, so the parser stays tolerant.
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
}
# One fixed spacing, that of json.dumps, so that white space cannot run on either.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
MOST = 16_384  # characters of a caller's schema: all texts of a batch wait while it is compiled
_EXTRA = "holding a text to a grammar needs the extra json: pip install 'tmem[json]'"


def check_schema(schema: str) -> None:
    """Raise :class:`UsageError` for a JSON schema that texts cannot be held to, or without the extra ``json``."""
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise UsageError(_EXTRA) from None
    if len(schema) > MOST:
        raise UsageError(f"a schema may have {MOST} characters at most, this has {len(schema)}")
    try:
        wrong, said = LLMatcher.validate_grammar_with_warnings(_compiled(LLMatcher, schema))
    except ValueError as error:
        wrong, said = True, [str(error)]
    if wrong:
        raise UsageError(f"this schema cannot be kept to: {' '.join(' '.join(said).split()):.300}")


def _compiled(matcher: Any, schema: str) -> Any:
    return matcher.grammar_from_json_schema(schema, overrides=_SPACING)


class Grammar:
    """Grammars for one tokenizer, made once per model; a :meth:`matcher` is for one text.

    ``vocab`` is the width of the logits and ``stop_ids`` are the tokens that may end the text. Raises
    :class:`UsageError` without ``llguidance`` installed and :class:`ModelError` for a tokenizer it cannot
    read.
    """

    def __init__(self, tokenizer: Any, vocab: int, stop_ids: frozenset[int]) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError:
            raise UsageError(_EXTRA) from None
        self.vocab = vocab
        self._new_matcher = llguidance.LLMatcher
        try:
            self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab, eos_token=sorted(stop_ids))
        except ValueError as error:
            raise ModelError(f"a grammar cannot read this model's tokenizer: {error}") from None
        self._grammar = _compiled(llguidance.LLMatcher, json.dumps(PAIRS_SCHEMA))

    def matcher(self, schema: str | None = None) -> Any:
        """A fresh ``llguidance.LLMatcher``, which takes each token in turn with ``consume_token``.

        ``schema``: of a caller, instead of the pairs'.
        """
        grammar = self._grammar if schema is None else _compiled(self._new_matcher, schema)
        matcher = self._new_matcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise ModelError(f"the grammar does not fit this model's tokenizer: {matcher.get_error()}")
        return matcher

    def allowed(self, matchers: list[Any]) -> Tensor:
        """Which tokens each matcher allows next: (len(matchers), vocab) bool, on the CPU."""
        biases = b"".join(matcher.compute_logit_bias() for matcher in matchers)  # a byte per token, 0: forbidden
        return torch.frombuffer(bytearray(biases), dtype=torch.uint8).view(len(matchers), self.vocab) > 0
