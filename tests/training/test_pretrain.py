"""Pretraining rows are what the agent builds, and training resumes where it was."""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from tmem.errors import UsageError
from tmem.fastweights.basis import read_safetensors
from tmem.model import Model, load
from tmem.training import pretrain
from tmem.training.branches import Row, collate
from tmem.training.grow import grow_from
from tmem.training.rows import NOTHING, RowMaker


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return pretrain.make_tokenizer(1, samples=200)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Model:
    folder = tmp_path_factory.mktemp("nano")
    pretrain.save_model(folder, pretrain.make_model("nano", pretrain.VOCABULARY, 1), tokenizer)
    return load(folder, device="cpu")


def test_branches_are_the_prompts_of_the_agent(saved: Model, tokenizer: Tokenizer) -> None:
    maker = RowMaker(tokenizer, 1)
    prompt, answer = maker.branch("Who is Ana?", "a nurse")
    context = "DATE: today\nAna said."
    messages = [{"role": "system", "content": context}, {"role": "user", "content": "Who is Ana?"}]
    assert maker.prefix(context) + prompt == saved.encode_chat(messages)
    example = saved.example("Who is Ana?", "a nurse")
    assert (tuple(prompt), tuple(answer)) == (example.prompt_ids, example.answer_ids)


def test_a_branch_sees_its_prefix_and_itself_alone(saved: Model, tokenizer: Tokenizer) -> None:
    maker = RowMaker(tokenizer, 1)
    row = next(r for r in (maker.row(n, 1.0, 0.1, 0.4) for n in range(50)) if r.prefix and len(r.branches) > 3)
    other = maker.row(99, 1.0, 0.1, 0.4)
    batch = collate([row, other], pad=0)
    with torch.no_grad():
        together = saved.hf(
            input_ids=batch.input_ids, position_ids=batch.position_ids, attention_mask=batch.mask
        ).logits[batch.keep]
        alone = []
        for part in (row, other):
            for prompt, answer in part.branches:
                ids = part.prefix + prompt + answer
                logits = saved.hf(input_ids=torch.tensor([ids])).logits[0]
                alone.append(logits[-len(answer) - 1 : -1])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
    targets = [token for part in (row, other) for _, answer in part.branches for token in answer]
    assert batch.targets.tolist() == targets


def test_rows_are_a_pure_function_of_seed_and_number(tokenizer: Tokenizer) -> None:
    rows: list[Row] = [RowMaker(tokenizer, 4).row(17, 0.7, 0.1, 0.4) for _ in range(2)]
    assert rows[0] == rows[1]
    assert RowMaker(tokenizer, 5).row(17, 0.7, 0.1, 0.4) != rows[0]


def test_spoken_values_are_asked_of_those_who_told_them(tokenizer: Tokenizer) -> None:
    maker, untold = RowMaker(tokenizer, 1), 0
    for number in range(50):
        row = maker.spoken(random.Random(number), most=8, untold=True)
        told = [line.strip() for line in tokenizer.decode(row.prefix).split("\n")[1:]]
        owners = [re.split("'s | said", line)[0] for line in told]
        *asking, (_, extracted) = row.branches
        pairs = json.loads(tokenizer.decode(extracted))
        assert len({pair["instruction"] for pair in pairs}) == len(pairs) >= 2
        for pair in pairs:
            owner = pair["instruction"].strip().removeprefix("What is ").split("'s ")[0]
            value = pair["output"].strip()
            assert any(owner == o and value in t for o, t in zip(owners, told, strict=True))
        for prompt, ids in asking:
            asked, answer = tokenizer.decode(prompt).split("\n")[1].strip(), tokenizer.decode(ids).strip()
            if asked.startswith("Whose"):
                thing, value = asked.removeprefix("Whose ").split("?")[0].split(" is ")
                assert any(owner == answer and thing in t and value in t for owner, t in zip(owners, told, strict=True))
            elif answer != NOTHING:
                assert any(owner in asked and answer in t for owner, t in zip(owners, told, strict=True))
            untold += answer == NOTHING
        nothing = maker.branch("", NOTHING)[1]
        assert all(answer != nothing for _, answer in maker.spoken(random.Random(number), 8, untold=False).branches)
    assert untold > 10


def test_an_interrupted_training_ends_bit_equal(tmp_path: Path, tokenizer: Tokenizer) -> None:
    common = ["--tokens", "256", "--threads", "1", "--device", "cpu", "--save-every", "3"]
    for name, runs in (("whole", [[]]), ("parts", [["--stop-at", "2"], ["--stop-at", "2"], []])):
        (tmp_path / name).mkdir()
        tokenizer.save(str(tmp_path / name / "tokenizer.json"))
        for extra in runs:
            pretrain.main([*common, "--steps", "6", "--out", str(tmp_path / name), *extra])
            done = int(read_safetensors(tmp_path / name / "checkpoint.safetensors")[1]["step"])
            assert done == (2 if extra else 6)
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_grown_model_computes_what_the_smaller_one_does(saved: Model) -> None:
    large = pretrain.make_model("small", pretrain.VOCABULARY, 3)
    ids = torch.arange(40)[None] * 7
    before = large(input_ids=ids).logits.detach()
    grow_from(saved.hf, large)
    with torch.no_grad():
        torch.testing.assert_close(large(input_ids=ids).logits, saved.hf(input_ids=ids).logits, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(before, large(input_ids=ids).logits, atol=0.1)
    # Every new parameter can learn at once or after one step: the first gradient reaches what writes.
    large.requires_grad_(True)(input_ids=ids, labels=ids).loss.backward()
    written = large.model.layers[2].mlp.down_proj.weight.grad
    assert written is not None and written.abs().max() > 0


def test_growth_refuses_a_smaller_model(saved: Model) -> None:
    with pytest.raises(UsageError, match="at least as large"):
        grow_from(pretrain.make_model("small", pretrain.VOCABULARY, 3), pretrain.make_model("nano", 2048, 3))


def test_json_tokens_cost_one_token_and_decode_to_themselves(tokenizer: Tokenizer) -> None:
    for text in pretrain.JSON_TOKENS:
        ids = tokenizer.encode(text).ids
        assert len(ids) == 1 and tokenizer.decode(ids) == text


def test_the_rate_warms_up_and_decays() -> None:
    args = argparse.Namespace(lr=1.0, steps=1000)
    rates = [pretrain.rate_at(step, args) for step in range(1000)]
    assert rates[0] < rates[50] < rates[99] and rates[100] > rates[500] > rates[999] > 0


@pytest.mark.parametrize("word", ["Oslo", "Zubifa", "chess", "17"])
def test_a_word_is_the_same_tokens_wherever_it_stands(tokenizer: Tokenizer, word: str) -> None:
    def ids(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    own = ids(word)
    places = [
        f"I like {word}",
        f"I like it.\n{word}",
        f'said, "{word}',
        f'[{{"instruction": "{word}',
        f"<|im_end|>{word}",
    ]
    assert all(ids(text)[-len(own) :] == own for text in places)
    # Cutting a text where a turn's content begins does not change its tokens.
    assert ids("<|im_start|>assistant\n") + ids(f"{word}<|im_end|>") == ids(f"<|im_start|>assistant\n{word}<|im_end|>")
