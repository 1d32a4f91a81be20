"""Supervised training: what is read as rows, exactness of branches, resuming, and what comes out."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from model.test_gate import Words
from torch import Tensor
from torch.nn.functional import cross_entropy

from tmem.errors import DataError, Diverged, ModelError, UsageError
from tmem.files import read_jsonl
from tmem.model import Model, load
from tmem.model.adapter import add_adapter
from tmem.model.head import Head
from tmem.model.reading import SHOWN
from tmem.store import chat
from tmem.tasks.everyday import message, statements
from tmem.tasks.persona import make_sample
from tmem.tasks.written import NEW, taught
from tmem.tasks.written import lines as written_lines
from tmem.texts import fold
from tmem.training.branches import Row, collate, loss_of
from tmem.training.sft import Config, Running, Trainer, batches, config_of, read_rows
from tmem.training.sources import written as by_hand
from tmem.training.sources.everyday import everyday
from tmem.training.sources.locomo import locomo
from tmem.training.sources.personas import personas
from tmem.training.sources.rows import NOTHING, row, rows
from tmem.training.sources.squad import squad
from tmem.training.sources.turns import REPLIES, before_of, turns

LEARNT = {"lr": 3e-3, "slow_lora": 4, "tokens": 640, "held_out": 4}


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", list(rows(everyday(1, 24))))


def trainer(model: Model, data: Path, folder: Path, running: Running | None = None, **changes: Any) -> Trainer:
    return Trainer(config_of([data], **(LEARNT | changes)), [data], model, folder, running or Running(save_every=2))


def test_a_branch_is_learnt_from_as_if_it_were_alone(data: Path, tmp_path: Path) -> None:
    model = load("persona-nano")
    together = read_rows(data, model, 640)
    alone = [
        {"messages": [*line["prompt"], *line["completion"]]} for line in map(json.loads, data.read_text().splitlines())
    ]
    apart = [read_rows(written(tmp_path / f"{place}.jsonl", [line]), model, 640)[0] for place, line in enumerate(alone)]
    assert 24 <= len(together) < len(apart)
    own = trainer(model, data, tmp_path / "run")
    own.dtype = torch.float32
    model.hf.set_attn_implementation("sdpa")

    def losses(row: Any) -> Tensor:
        batch = collate([row], pad=0)
        return own._loss(batch) * len(batch.targets)

    with torch.no_grad():
        whole = torch.stack([losses(row) for row in together]).sum()
        parts = torch.stack([losses(row) for row in apart]).sum()
    assert torch.isclose(whole, parts, rtol=1e-4)


def test_scores_that_are_capped_are_capped_in_branches_too() -> None:
    hf = tiny("gemma2", attn_logit_softcapping=0.5, sliding_window=64)
    branches = [([20, 21], [22, 23]), ([30], [31, 32, 33])]
    row = Row(list(range(3, 12)), branches)

    def alone() -> Tensor:
        losses = []
        for prompt, answer in branches:
            logits = hf(torch.tensor([row.prefix + prompt + answer])).logits[0, -len(answer) - 1 : -1]
            losses.append(cross_entropy(logits, torch.tensor(answer), reduction="none"))
        return torch.cat(losses).mean()

    with torch.no_grad():
        wanted = alone()
        hf.set_attn_implementation("plain")
        found = loss_of(hf.model, Head(hf), collate([row], pad=0), "cpu", torch.float32)
        hf.set_attn_implementation("eager")
        for layer in hf.model.layers:
            layer.self_attn.attn_logit_softcapping = None
        uncapped = alone()
    assert torch.isclose(found, wanted, rtol=1e-5) and not torch.isclose(uncapped, wanted, rtol=1e-3)


def test_stopped_and_gone_on_with_gives_the_same_model(data: Path, tmp_path: Path) -> None:
    whole = trainer(load("persona-nano"), data, tmp_path / "whole")
    whole.train()
    assert len(whole.plan) > 6
    trainer(load("persona-nano"), data, tmp_path / "parts", Running(save_every=2, stop_at=5)).train()
    parts = trainer(load("persona-nano"), data, tmp_path / "parts", Running(save_every=3))
    assert parts.step == 5
    parts.train()
    assert all(torch.equal(value, parts.trained[name]) for name, value in whole.trained.items())

    def figures(folder: str) -> list[Any]:
        lines = map(json.loads, (tmp_path / folder / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], line["loss"]) for line in lines if line["type"] == "step"]

    assert figures("whole") == figures("parts")
    assert load(tmp_path / "whole" / "model").weights_hash == load(tmp_path / "parts" / "model").weights_hash


def test_what_is_learnt_lowers_the_loss_and_stands_in_the_adapter_too(data: Path, tmp_path: Path) -> None:
    own = trainer(load("persona-nano"), data, tmp_path / "run", epochs=3, lr=1e-2)
    own.train()
    looks = [line for line in map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())]
    losses = [line["loss"] for line in looks if line["type"] == "held out"]
    assert losses[-1] < 0.9 * losses[0]
    merged, added = load(tmp_path / "run" / "model").hf, load("persona-nano").hf
    add_adapter(added, tmp_path / "run" / "adapter")
    for name, value in added.named_parameters():
        assert torch.allclose(value, merged.get_parameter(name), atol=2e-3), name
    peft = pytest.importorskip("peft")
    opened = peft.PeftModel.from_pretrained(load("persona-nano").hf, tmp_path / "run" / "adapter").merge_and_unload()
    for name, value in opened.named_parameters():
        assert torch.allclose(value, added.get_parameter(name), atol=1e-6), name
    with pytest.raises(ModelError, match="of another model"):
        add_adapter(load("persona-small").hf, tmp_path / "run" / "adapter")


def test_a_training_goes_on_from_an_adapter(data: Path, tmp_path: Path) -> None:
    first = trainer(load("persona-nano"), data, tmp_path / "first", Running(stop_at=3), lr=1e-2)
    first.train()
    adapter = tmp_path / "first" / "adapter"

    def going_on(folder: str, **changes: Any) -> Trainer:
        config = config_of([data], adapter, **(LEARNT | changes))
        return Trainer(config, [data], load("persona-nano"), tmp_path / folder, Running(stop_at=2), adapter)

    second = going_on("second")
    for name, value in first.trained.items():  # the adapter is in float16
        assert torch.allclose(value, second.trained[name], atol=1e-3), name
    assert any(bool(value.any()) for name, value in second.trained.items() if "lora_B" in name)
    second.train()
    assert not torch.equal(second.trained[name], first.trained[name])
    with pytest.raises(ModelError, match=r"rank 4 for .* layers; this training has rank 8"):
        going_on("third", slow_lora=8)
    with pytest.raises(UsageError, match="no adapter"):
        config_of([data], tmp_path)


def test_what_is_held_out_is_not_learnt_from_though_a_file_is_given_twice(data: Path, tmp_path: Path) -> None:
    own = Trainer(config_of([data] * 2, **LEARNT), [data] * 2, load("persona-nano"), tmp_path / "run", Running())
    assert len(own.held_out) == 4 and not any(row in own.held_out for row in own.rows)


def test_every_token_that_is_read_is_counted(data: Path, tmp_path: Path) -> None:
    own = trainer(load("persona-nano"), data, tmp_path / "run", Running(stop_at=1))
    row = own.rows[own.plan[0][0]]
    row.prefix[:2] = [0, 0]  # the number of a word in some vocabularies
    own.train()
    [step] = [
        one for one in map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines()) if "tokens" in one
    ]
    assert step["tokens"] == sum(len(own.rows[place]) for place in own.plan[0])


def test_all_weights_can_be_trained(data: Path, tmp_path: Path) -> None:
    own = trainer(load("persona-nano"), data, tmp_path / "run", Running(stop_at=2), slow_lora=0, lr=1e-4)
    own.train()
    assert load(tmp_path / "run" / "model").weights_hash != load("persona-nano").weights_hash
    assert not (tmp_path / "run" / "adapter").exists()


def test_a_training_that_diverges_keeps_its_last_checkpoint(data: Path, tmp_path: Path) -> None:
    own = trainer(load("persona-nano"), data, tmp_path / "run", Running(save_every=1, stop_at=1))
    own.train()
    own = trainer(load("persona-nano"), data, tmp_path / "run", Running(save_every=1))
    good = {name: value.clone() for name, value in own.trained.items()}
    own._loss = lambda batch: sum(value.sum() for value in own.trained.values()) * float("nan")  # type: ignore
    with pytest.raises(Diverged, match="after step 1: the loss is not finite; give another --out and a smaller --lr"):
        own.train()
    again = trainer(load("persona-nano"), data, tmp_path / "run")
    assert again.step == 1
    assert all(torch.equal(value, good[name]) for name, value in again.trained.items())


def test_a_model_that_says_nothing_finite_is_not_saved(data: Path, tmp_path: Path) -> None:
    own = trainer(load("persona-nano"), data, tmp_path / "run", Running(stop_at=2), lr=1e20)
    with pytest.raises(
        Diverged, match=r"after step 2: the loss on the held-out rows is not finite; .*none was saved yet"
    ):
        own.train()
    assert not (tmp_path / "run/checkpoint.safetensors").exists() and not (tmp_path / "run/model").exists()


def test_a_row_beyond_what_a_layer_sees_is_named(data: Path) -> None:
    model = load("persona-nano")
    model.hf = copy.copy(model.hf)
    model.hf.config = copy.deepcopy(model.hf.config)
    model.hf.config.layer_types = ["full_attention", "sliding_attention"] * 3
    model.hf.config.sliding_window = 500
    assert read_rows(data, model, 640)
    model.hf.config.sliding_window = 20
    with pytest.raises(DataError, match=r"line 1: \d+ tokens, more than what its narrowest layer sees, a window of 20"):
        read_rows(data, model, 640)


def test_every_row_is_seen_once_an_epoch_in_steps_of_the_given_size(data: Path) -> None:
    every = read_rows(data, load("persona-nano"), 640)
    config = Config((), tokens=640)
    first, second = batches(every, config, 0), batches(every, config, 1)
    assert sorted(place for batch in first for place in batch) == list(range(len(every)))
    assert first != second and first == batches(every, config, 0)
    assert all(len(batch) * max(len(every[place]) for place in batch) <= 640 for batch in first)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"text": "only a text"}, "no row: write"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "no row: write"),
        ({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}, "no row: write"),
        ({"prompt": "Hi", "completion": "Hello"}, "no row: write"),
        ({"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": " "}]}, "no"),
        (
            {"messages": [{"role": "user", "content": "Hi " * 400}, {"role": "assistant", "content": "a"}]},
            "more than the 256 of a step: raise --tokens",
        ),
    ],
)
def test_a_line_that_is_no_row_is_named(line: Any, said: str, tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    with pytest.raises(DataError, match=rf"rows\.jsonl: line 2: .*{said}") as error:
        read_rows(written(tmp_path / "rows.jsonl", [good, line]), load("persona-nano"), 256)
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        config_of([tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="no rows"):
        read_rows(written(tmp_path / "empty.jsonl", []), load("persona-nano"), 256)
    few = written(tmp_path / "few.jsonl", list(rows(everyday(1, 2))))
    with pytest.raises(UsageError, match="nothing is left to learn from"):
        trainer(load("persona-nano"), few, tmp_path / "run", held_out=9)


def test_what_the_everyday_world_says_holds_its_answers() -> None:
    texts = everyday(7, 400)
    assert texts == everyday(7, 400) and texts != everyday(8, 400)
    for one in texts:
        for question, answer in [*one.pairs, *one.asked]:
            assert question.endswith("?") and not set("{}|") & set(question + answer + one.text), one
            if answer not in ("No", NOTHING):
                assert answer.lower() in one.text.lower(), (question, answer, one.text)
    assert sum(not one.pairs for one in texts) > 20  # small talk
    assert sum(answer == NOTHING for one in texts for _, answer in one.asked) > 200


def test_what_is_said_in_the_midst_of_a_chat() -> None:
    asked = [{"role": "user", "content": "What is bread?"}]
    on = [*asked, {"role": "assistant", "content": "Food."}, {"role": "user", "content": "Go on."}]
    general = [row(asked, "Bread is food."), row(on, "It is baked.")]
    made = list(turns(7, 600, general))
    assert made == list(turns(7, 600, general)) and made[:50] == list(turns(7, 50, general))
    replies = [one["completion"][0]["content"] for one in made]
    for one, reply in zip(made, replies, strict=True):
        text = " ".join(message["content"] for message in one["prompt"])
        assert not set("{}|") & set(text) and reply
        if one["prompt"][0]["role"] == "system":
            for pair in json.loads(reply):
                assert pair["instruction"].endswith("?") and pair["output"]
        else:
            roles = [message["role"] for message in one["prompt"]]
            assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    known = {reply for one, reply in zip(made, replies, strict=True) if one["prompt"][-1]["content"] == "Go on."}
    assert known == {"It is baked."}  # an answer is that of its own turns, whatever stands before them
    for kind, share in (("[]", 0.02), (NOTHING, 0.03), ("Bread is food.", 0.05)):
        assert replies.count(kind) > share * len(made)


@pytest.mark.parametrize("answered", ["Lyon", "No information available", "It is\nParis."])
def test_a_message_is_read_after_an_exchange_as_a_chat_reads_it(answered: str) -> None:
    exchange = ("Where do I live?", answered)
    earlier = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), exchange, strict=True)]
    assert before_of(*exchange) == chat._context(earlier)


def test_replies_by_hand_are_to_what_was_written_to_be_learnt_from() -> None:
    texts = {line["said"][0][1] for line in taught()}
    lines = [line for _, line in read_jsonl(REPLIES)]
    assert len(lines) > 100 and all(line["said"] in texts and line["reply"].strip() for line in lines)


def test_what_was_written_by_hand_is_whole_and_none_of_it_is_in_the_benchmark() -> None:
    lines = written_lines()
    assert len(lines) > 6000 and sum(not line["pairs"] for line in lines) > 500
    for line in lines:
        questions = [ask for pair in line["pairs"] for ask in pair["ask"]] + line["never"]
        assert all(question.endswith("?") for question in questions) and line["never"], line
        for pair in line["pairs"]:
            assert len(pair["ask"]) > 1 and pair["answer"].strip() == pair["answer"] != "", line
            assert len(pair["answer"].split()) < 10, line
    told = {fold(text) for statement in statements() for _, text in (*statement.said, *statement.later)}
    assert not any(fold(text) in told for line in lines for _, text in line["said"])


def test_what_was_written_by_hand_is_read_as_told_and_as_a_gate_shows_it() -> None:
    texts = by_hand.written(1, Words(), 600)
    assert texts[-40:] == by_hand.written(1, Words(), 600)[-40:]
    assert not {one.text for one in texts} & {message(one["said"], one["date"]) for one in written_lines()[-NEW:]}
    said, read = [one for one in texts if one.pairs is not None], [one for one in texts if one.pairs is None]
    assert len(said) == 600 and len(read) > 400
    for one in read:  # a few pairs, of which one answers what it is about, or none
        [(_, first), *also], lines = one.asked, one.text.split("\n")
        assert len(lines) <= SHOWN and len(also) <= by_hand.ALSO
        for answer in [first] * (first != NOTHING) + [answer for _, answer in also]:
            assert any(line.endswith(f" {answer}") for line in lines)
    assert 0.3 < sum(one.asked[0][1] == NOTHING for one in read) / len(read) < 0.8  # by words; an encoder finds more


def test_passages_and_personas_become_texts(tmp_path: Path) -> None:
    passages = [
        {
            "title": f"Article {number // 2}",
            "context": f"Tower {number} was built in {1900 + number} by Ann.",
            "questions": [
                {"question": f"Who built tower {number}?", "answer": "Ann"},
                {"question": f"When was tower {number} built?", "answer": f"{1900 + number}"},
            ],
        }
        for number in range(20)
    ]
    path = tmp_path / "squad.json.gz"
    path.write_bytes(gzip.compress(json.dumps(passages).encode()))
    seen, held = squad(path, 1, without=[passages[0]["context"]]), squad(path, 1, held_out=True)
    assert len(seen) == 7 and len(held) == 12
    assert [answer for _, answer in seen[0].pairs] == ["1901", "Ann"]  # in the order of the text
    talk = ["User 1: Hi! I live in Rome and I collect stamps.", "User 2: I like jazz."]
    talk += ["User 1: Great, my favorite color is red."]
    traits = ["I live in Rome.", "I collect stamps.", "My favorite color is red.", "I have a dogs."]
    table = io.StringIO()
    columns = ["user 1 personas", "user 2 personas", "Best Generated Conversation"]
    csv.writer(table).writerows([columns, ["\n".join(traits), "I like jazz.\nI fly planes.", "\n".join(talk)]])
    lines = table.getvalue()
    path = tmp_path / "talks.csv.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    [text] = personas(path, 1)
    first, second = (line.split(" said")[0] for line in text.text.splitlines()[:2])
    assert set(text.pairs) == {
        (f"Where does {first} live?", "Rome"),
        (f"What does {first} collect?", "stamps"),
        (f"What is {first}'s favorite color?", "red"),
        (f"What does {second} like?", "jazz"),
    }
    for make in (lambda: squad(path, 1), lambda: personas(tmp_path / "squad.json.gz", 1)):
        with pytest.raises(DataError, match="not "):
            make()


def test_sessions_of_locomo_stand_with_what_they_answer(tmp_path: Path) -> None:
    sample = make_sample(3, 0, 2, 8, "train")
    path = tmp_path / "world.json"
    path.write_text(json.dumps([sample]))
    whole = locomo(path, [sample["sample_id"]], len, 10**6)
    assert len(whole) == 2 and all(one.pairs for one in whole)
    single = {qa["question"]: qa["answer"] for qa in sample["qa"] if qa["category"] == 4}
    found = dict(pair for one in whole for pair in one.pairs)
    assert single.items() <= found.items() and "No information available" not in found.values()
    parts = locomo(path, [sample["sample_id"]], len, 150)
    assert len(parts) > 3 and all(part.text.startswith("DATE: ") for part in parts)
    for part in parts:
        for question, answer in part.pairs:
            assert question not in single or answer in part.text
    with pytest.raises(UsageError, match="has no conv-1"):
        locomo(path, ["conv-1"], len, 100)
