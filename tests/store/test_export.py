"""A memory taken elsewhere: into peft, into another home; and which pairs an answer came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from transformers import AutoModelForCausalLM

from tmem import Memory
from tmem.errors import DataError, IntegrityError, UsageError
from tmem.fastweights import Basis, FastWeights
from tmem.fastweights.basis import tensors_hash
from tmem.model import Model
from tmem.store.care.export import save_peft
from tmem.store.ledger.queries import sources

VEHICLE, COLOUR, JOB = (f"What is {thing}?" for thing in ("Maria's vehicle", "Kevin's favourite colour", "Maria's job"))


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma2", "phi3"])
def test_peft_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model, layers=2, rank=3))
    delta = fast.zeros(1)
    for number, value in enumerate(delta.b.values()):
        value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(number)) / 10)
    ids = torch.randint(0, 100, (2, 9), generator=torch.Generator().manual_seed(7))
    with torch.no_grad(), fast.active(delta, [0, 0]):
        expected = model(ids).logits
    save_peft(tmp_path, fast, dict(delta.b), "base")
    with torch.no_grad():
        found = peft.PeftModel.from_pretrained(model, tmp_path)(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, tiny(family)(ids).logits, atol=1e-3)


def test_an_adapter_is_loaded_elsewhere_with_what_its_folder_says(
    fresh_memory: Memory, model: Model, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    mine = fresh_memory.scope("u")
    mine.add(pairs=[(VEHICLE, "camper")])
    mine.export(tmp_path / "adapter", format="peft")
    base = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(base).is_absolute()
    ids = torch.tensor([model.bare(VEHICLE)])
    with torch.no_grad(), mine.trainer.fast.active(mine.trainer.delta(mine.home.state(mine.id)), [0]):
        expected = model.hf(ids).logits
    hf = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    readme = (tmp_path / "adapter" / "README.md").read_text()
    assert tensors_hash(hf.named_parameters()) in readme and f'base_model: "{base}"' in readme
    with torch.no_grad():
        found = peft.PeftModel.from_pretrained(hf, tmp_path / "adapter")(ids).logits
        alone = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype="float32")(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone, found)


def test_adapters_for_llama_cpp_have_a_name_for_each_version(fresh_memory: Memory, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    mine, yours, folder = fresh_memory.scope("u"), fresh_memory.scope("v"), tmp_path / "out"
    with pytest.raises(UsageError, match="no weights to export"):
        mine.export(folder, format="gguf")
    assert not folder.exists()
    mine.add(pairs=[(VEHICLE, "camper")])
    yours.add(pairs=[(VEHICLE, "camper")])
    [first] = mine.save_gguf(folder)
    kept = first.read_bytes(), first.stat().st_mtime_ns
    assert mine.export(folder, format="gguf") == 1 and (first.read_bytes(), first.stat().st_mtime_ns) == kept
    [theirs] = yours.save_gguf(folder)
    mine.add(pairs=[(COLOUR, "silver")])
    [second, base] = mine.save_gguf(folder, base="f16")
    assert {path.name for path in folder.iterdir()} == {path.name for path in (first, theirs, second, base)}
    assert first.stem.split("-")[:2] == ["tmem", mine.id[:12]] and first.stem[-16:] == theirs.stem[-16:]
    told = [gguf.GGUFReader(path).get_field("tmem.base").contents() for path in (first, second, base)]
    assert set(told) == {mine.model.weights_hash}
    for wrong in ({"format": "gguf", "base": "q4_0"}, {"format": "peft", "base": "f16"}, {"format": "onnx"}):
        with pytest.raises(UsageError):
            mine.export(tmp_path / "no", **wrong)
    assert not (tmp_path / "no").exists()


def test_a_model_of_the_hub_is_named_as_there(model: Model, tmp_path: Path) -> None:
    fetched = tmp_path / "models--owner--some--name" / "snapshots" / "0a1b"
    assert Model("x", fetched, model.hf, model.tokenizer, model.settings).origin == "owner/some--name"


def test_an_imported_ledger_makes_the_same_weights(memory: Memory, tmp_path: Path) -> None:
    memory.add(pairs=[(VEHICLE, "camper"), (COLOUR, "silver")], user_id="u")
    memory.add(pairs=[(VEHICLE, "ferry")], user_id="u")
    assert memory.export(tmp_path / "u.jsonl", user_id="u") == 2
    receipt = memory.import_(tmp_path / "u.jsonl", user_id="v")
    assert [row["status"] for row in receipt.pairs] == ["superseded", "active", "active"]
    assert memory.verify(user_id="v")["weights"] == memory.verify(user_id="u")["weights"]
    with pytest.raises(UsageError, match="told nothing"):
        memory.import_(tmp_path / "u.jsonl", user_id="v")


def test_what_was_exported_comes_back_whole(memory: Memory, tmp_path: Path) -> None:
    mine, file = memory.scope("u"), tmp_path / "u.jsonl"
    text = 'Maria said, "I bought a camper to get around."'
    mine.add(text, timestamp="8 May 2023", metadata={"source": "chat"})
    mine.add(pairs=[(COLOUR, "red"), (JOB, "baker")], timestamp="2023-05-09T13:56:01.5+02:00")
    again = {"role": "user", "content": "My colour is silver now."}
    mine.add(again, pairs=[(COLOUR, "silver"), (JOB, "baker")], infer=False)  # says of the job what is known
    mine.add(pairs=[("Who is Bo?", "a friend")], absorb=False, metadata={"n": 1})

    def whole() -> tuple[Any, ...]:
        with memory._shared.home.db.read() as connection:
            rows = list(sources(connection, mine.id).values())
        rows = [row for row in rows if row.status != "forgotten"]
        numbers = {row.id: number for number, row in enumerate(rows)}
        kept = [(row.status, row.extracted, row.created, row.text, row.told, row.meta) for row in rows]
        said = [[numbers[one] for one in json.loads(row.repeats or "[]")] for row in rows]
        told = [(row["question"], row["answer"]) for row in mine.get_all(status=None) if row["question"]]
        return told, kept, said, mine.verify()["weights"]

    before = whole()
    assert [row[0] for row in before[1]] == ["active", "superseded", "active", "active", "pending"]
    assert before[1][0][3].endswith(text) and before[1][3][3] and [2] in before[2]
    assert mine.export(file) == 3
    file.write_text(file.read_text() + "\n\n")  # as editors leave it
    mine.delete_all()
    assert [row["status"] for row in mine.import_(file).pairs] == [row[0] for row in before[1]]
    assert whole() == before
    mine.erase()
    mine.import_(file)
    assert whole() == before and mine.export(tmp_path / "again") == 3
    assert (tmp_path / "again").read_text() + "\n\n" == file.read_text()
    assert mine.absorb().pairs[0]["status"] == "active"
    assert mine.export(tmp_path / "one", version=1) == 1 and (tmp_path / "one").read_text().count("\n") == 1


GOOD = {"write": 1, "question": "Q?", "answer": "A", "supersedes": None}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b"\x80\x04\x95"], "cannot be read"),  # a pickle
        (["{"], "line 1: not valid JSON"),
        (["[" * 100_000], "line 1: not valid JSON"),
        (["3"], "line 1: not a pair"),
        ([GOOD | {"write": True}], "line 1: not a pair"),
        ([GOOD | {"question": " "}], "line 1: 'question' and 'answer' must be text"),
        ([GOOD | {"answer": 3}], "line 1: 'question' and 'answer' must be text"),
        ([GOOD, GOOD | {"supersedes": 1}], "line 2: 'supersedes'"),
        ([GOOD, GOOD | {"supersedes": -1}], "line 2: 'supersedes'"),
        ([GOOD, GOOD | {"follows": 1}], "line 2: 'follows'"),
        ([GOOD, GOOD | {"supersedes": 0}], "line 2: 'supersedes' must be the number of an earlier line"),
        ([GOOD, GOOD | {"write": 2, "follows": 0}], "line 2: 'follows' must be an earlier line of the same write"),
        ([GOOD | {"write": 2}, GOOD], "line 2: 'write' goes backwards"),
        ([GOOD | {"answer": "x" * 1_100_000}], "line 1: longer than"),
        ([GOOD, "", GOOD], "line 2: empty"),
        ([GOOD | {"timestamp": "08/05/2023"}], "line 1: 'timestamp' '08/05/2023' is no date"),
        ([GOOD | {"created": 7}], "line 1: 'created' 7 is no date"),
        ([GOOD | {"metadata": 7}], "line 1: 'metadata' must be a dict"),
        ([GOOD | {"repeats": [0]}], "line 1: 'repeats' must be the number of an earlier line"),
        ([GOOD | {"pending": True}, GOOD | {"write": 2}], "line 2: 'pending' pairs come last"),
    ],
)
def test_what_is_no_ledger_is_not_taken_in(memory: Memory, tmp_path: Path, lines: list[Any], words: str) -> None:
    data = [x if isinstance(x, bytes) else (x if isinstance(x, str) else json.dumps(x)).encode() for x in lines]
    (tmp_path / "x").write_bytes(b"\n".join(data) + b"\n")
    with pytest.raises(DataError, match=words):
        memory.import_(tmp_path / "x", user_id="v")
    assert memory.get_all(user_id="v", status=None) == []


def test_why_names_the_pair_that_an_answer_is_from(memory: Memory) -> None:
    assert memory.why("How does Maria get around?", answer="camper", user_id="u") == []
    memory.add(pairs=[(JOB, "baker"), (VEHICLE, "camper"), (COLOUR, "silver")], user_id="u")
    before = memory.verify(user_id="u")
    first, *others = memory.why("How does Maria get around?", user_id="u")
    assert first["answer"] == "camper" and first["moved"] > 1
    assert first["with"] > first["without"] and all(row["moved"] < first["moved"] for row in others)
    assert memory.verify(user_id="u") == before


def test_damaged_weights_are_made_anew(memory: Memory, model: Model, tmp_path: Path) -> None:
    memory.add(pairs=[(VEHICLE, "camper")], user_id="u")
    weights = memory.verify(user_id="u")["weights"]
    [path] = (tmp_path / "home" / "scopes").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(IntegrityError, match="cannot be read"):
        memory.verify(user_id="u")
    assert memory.rebuild(user_id="u").details == {"steps": 1}
    assert memory.verify(user_id="u")["weights"] == weights


def test_a_folder_is_no_export(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(Is a directory\); give the file that tmem export wrote$"):
        memory.import_(tmp_path, user_id="u")
