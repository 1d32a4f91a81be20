"""Runs on disk: interrupted, resumed, shared by processes, damaged; on a tiny model with random weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from nodes import two_nodes

from tmem.agent.agent import Agent
from tmem.errors import DataError, EngineError, ModelError, UsageError
from tmem.evaluation import runner
from tmem.evaluation.records.files import Claims, Records, read_records, repair
from tmem.evaluation.records.spec import Spec
from tmem.evaluation.runner import Progress, run
from tmem.evaluation.spread import Part, _live
from tmem.evaluation.stats import warnings
from tmem.model import Completion, Model, Request, load
from tmem.tasks.persona import make_world
from tmem.tasks.search import RemoteRetriever

MEMORIES, SEEDS = ["none", "tmem", "memagent"], [1, 2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3")
    settings = {"window": 2048, "budget": 60, "prompts": "compact", "lr": 0.1}
    short = {"max_new_tokens_extract": 8, "max_new_tokens_answer": 3, "max_new_tokens_memory": 5}
    (folder / "tmem.json").write_text(json.dumps(settings | short))
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Model:
    return load(checkpoint, device="cpu")


def spec(checkpoint: Path, **changes: Any) -> Spec:
    options = {"facts": 4, "episodes": 3}
    return Spec(bench="persona", options=options, model=str(checkpoint), **{"recipe": "sgd", **changes})


def lines(folder: Path) -> dict[tuple[Any, ...], str]:
    """Every record without what may differ from run to run, by what it is about."""
    table = {}
    for record in read_records(folder):
        key = (record["type"], record["memory"], record["seed"], record.get("id", record["episode"]))
        assert key not in table, f"{key} is recorded twice"
        table[key] = json.dumps(strip(record), sort_keys=True)
    return table


def strip(value: Any) -> Any:
    """Without seconds, and with losses to the precision that does not depend on the batch."""
    if isinstance(value, dict):
        return {key: strip(item) for key, item in value.items() if key != "seconds"}
    if isinstance(value, list):
        return [strip(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def whole(model: Model, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    run(spec(checkpoint), model, MEMORIES, SEEDS, folder)
    return folder


def test_every_question_of_every_cell_is_recorded_once(whole: Path) -> None:
    records = list(read_records(whole))
    questions = [record for record in records if record["type"] == "question"]
    episodes = [record for record in records if record["type"] == "episode"]
    assert len(episodes) == len(MEMORIES) * len(SEEDS) * 3
    assert sum(len(episode["questions"]) for episode in episodes) == len(questions) > 30
    first = next(record for record in questions if record["memory"] == "tmem")
    assert {
        "reply",
        "prediction",
        "gold",
        "scores",
        "age",
        "memory_size",
        "answer",
        "build",
        "model_hash",
    } <= first.keys()
    assert first["answer"]["llm_calls"] == 1 and first["answer"]["prompt_tokens"] > 0
    assert first["build"]["llm_calls"] >= first["build"]["triggers"] >= 1  # a long session is read in parts
    assert {"extract", "write"} <= first["build"]["seconds"].keys()
    assert (first["recipe"], first["tmem"]) == ("sgd", json.loads((whole / "run.json").read_text())["version"])


def test_weights_of_another_type_are_another_run(checkpoint: Path, model: Model, whole: Path, tmp_path: Path) -> None:
    rounded = spec(checkpoint, weights="bfloat16")
    base = rounded.load()  # as every process of the run has it
    assert base.weights_hash != model.weights_hash
    run(rounded, base, ["none"], [1], tmp_path, limit=1)
    about = json.loads((tmp_path / "run.json").read_text())
    assert (about["settings"]["weights"], about["model_hash"]) == ("bfloat16", base.weights_hash)
    assert "weights" not in json.loads((whole / "run.json").read_text())["settings"]
    with pytest.raises(DataError, match="holds another run"):
        run(spec(checkpoint), model, ["none"], [1], tmp_path, limit=1)


def test_a_run_that_is_over_does_nothing_more(model: Model, checkpoint: Path, whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.glob("*.jsonl")}
    assert run(spec(checkpoint), model, MEMORIES, SEEDS, whole) > 30
    assert {path: path.read_bytes() for path in whole.glob("*.jsonl")} == before
    assert list((whole / "claims").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 1, 1000, 9000, -1])
def test_a_file_cut_anywhere_is_made_whole_again(
    model: Model, checkpoint: Path, whole: Path, tmp_path: Path, cut: int
) -> None:
    data = (whole / "records-0.jsonl").read_bytes()
    (tmp_path / "records-0.jsonl").write_bytes(data[:cut])
    run(spec(checkpoint), model, MEMORIES, SEEDS, tmp_path)
    assert lines(tmp_path) == lines(whole)


def test_killed_at_any_moment_the_same_command_resumes(checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    argv = [
        "eval",
        "persona",
        "--facts",
        "4",
        "--limit",
        "3",
        "--recipe",
        "sgd",
        "--model",
        str(checkpoint),
        "--memory",
        ",".join(MEMORIES),
    ]
    argv += ["--seeds", "1,2", "--out", str(tmp_path / "run"), "--json", "--show-tail"]
    command = [sys.executable, "-c", "from tmem.cli import main; main()", *argv]
    records = tmp_path / "run" / "records-0.jsonl"
    for size in (1, 20_000):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while process.poll() is None and not (records.exists() and records.stat().st_size > size):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["memories"][0]["memory"] == "none"
    assert lines(tmp_path / "run") == lines(whole)


def test_workers_end_with_the_process_that_started_them(checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    argv = ["eval", "persona", "--facts", "4", "--limit", "3", "--model", str(checkpoint), "--seeds", "1,2"]
    argv += ["--recipe", "sgd"]
    argv += ["--memory", ",".join(MEMORIES), "--out", str(tmp_path / "run"), "--json", "--show-tail"]
    command = [sys.executable, "-c", "from tmem.cli import main; main()", *argv]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list((tmp_path / "run").glob("records-*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert lines(tmp_path / "run") == lines(whole)
    counted = sum(memory["n"] for memory in json.loads(done.stdout)["memories"])
    assert counted == sum(record["type"] == "question" for record in read_records(whole))


def test_several_processes_give_the_records_of_one(model: Model, checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    run(spec(checkpoint), model, MEMORIES, SEEDS, tmp_path, workers=2)
    assert lines(tmp_path) == lines(whole)


def test_two_nodes_of_which_one_goes_give_the_records_of_one_process(
    model: Model, checkpoint: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_nodes(monkeypatch) as (address, take_away):
        broken = Spec(**(vars(spec(checkpoint)) | {"model": str(tmp_path / "gone")}))  # this process has the model
        with pytest.raises(ModelError, match="unknown model") as caught:
            run(broken, model, ["memagent"], [1], tmp_path / "broken", ray=address)
        assert "\n" not in str(caught.value)
        here = model.weights_hash
        with monkeypatch.context() as patch:
            patch.setitem(vars(model), "weights_hash", "0" * 64)
            with pytest.raises(DataError, match=f"another model_hash \\({here}, here 0{{64}}\\): make them alike"):
                run(spec(checkpoint), model, ["none"], [1], tmp_path / "other", ray=address)
        gone = list[int]()

        def tell(*counts: int) -> None:
            if counts[1] > 3 and not gone:  # lives
                gone.append(counts[1])
                take_away()

        run(spec(checkpoint), model, MEMORIES, SEEDS, tmp_path / "run", workers=2, progress=tell, ray=address)
        assert gone and gone[0] < len(MEMORIES) * len(SEEDS) * 3
    assert lines(tmp_path / "run") == lines(whole)


def test_no_ray(model: Model, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'tmem\[ray\]'"):
        run(spec(checkpoint), model, ["none"], [1], tmp_path, ray="auto")


def test_a_process_elsewhere_reads_the_files_that_it_is_told(checkpoint: Path, tmp_path: Path) -> None:
    data = tmp_path / "world.json"  # a path, as the command line has some
    data.write_text(json.dumps(make_world(1, 1, 1, 4)))
    asked = Spec("locomo", {"path": data}, str(checkpoint), recipe="sgd")
    assert {found["type"] for found in _live(asked, Part("none", 1, None, (0,)))} == {"episode", "question"}


def test_a_second_worker_takes_what_the_first_has_not_claimed(
    model: Model, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    """The second worker runs through while the first is in the middle of its first rollouts."""
    benchmark = spec(checkpoint).benchmark(model)

    def work(number: int, progress: Progress | None = None) -> None:
        records = Records(tmp_path, number)
        runner._work(spec(checkpoint), model, benchmark, MEMORIES, SEEDS, None, records, 100, progress)

    others = iter([1])

    def interrupt(*counts: int) -> None:
        for number in others:
            work(number)

    work(0, interrupt)
    assert lines(tmp_path) == lines(whole)
    first, second = (tmp_path / f"records-{number}.jsonl" for number in (0, 1))
    assert first.stat().st_size and second.stat().st_size


def test_a_worker_that_fails_says_why(model: Model, checkpoint: Path, tmp_path: Path) -> None:
    broken = Spec(**(vars(spec(checkpoint)) | {"model": str(tmp_path / "gone")}))  # of which this process has the model
    with pytest.raises(ModelError, match="unknown model"):
        run(broken, model, ["memagent"], [1], tmp_path / "run", workers=2)


def test_an_episode_that_cannot_be_run_costs_its_own_answers_and_is_named(
    model: Model, checkpoint: Path, tmp_path: Path
) -> None:
    broken = spec(checkpoint, budget=4000)  # a context that does not fit the window of 2048
    broken = Spec(**(vars(broken) | {"options": {"facts": 80, "episodes": 1}}))
    run(broken, model, ["none", "memagent"], [1], tmp_path)
    records = [record for record in read_records(tmp_path) if record["memory"] == "memagent"]
    [episode] = [record for record in records if record["type"] == "episode"]
    questions = [record for record in records if record["type"] == "question"]
    assert "too long for the window" in episode["failed"] and len(questions) == len(episode["questions"]) > 10
    assert {question["reply"] for question in questions} == {""}
    [line] = [line for line in warnings({"memagent": ([episode], questions)}) if "could not be run" in line]
    assert "memagent 1 of 1" in line and episode["failed"] in line
    assert run(broken, model, ["none", "memagent"], [1], tmp_path) == 2 * len(questions)  # it is done


class Searching(Spec):
    """Whose model searches in every turn."""

    def agent(self, model: Model, memory: str, seed: int) -> Agent:
        return replace(super().agent(model, memory, seed), engine=self)

    def generate(self, requests: Sequence[Request], *_: Any) -> list[Completion]:
        return [Completion((3,), "<search>who</search>", (0.0,), "stop")] * len(requests)


def test_a_retriever_that_is_down_ends_the_run_and_costs_no_answers(
    model: Model, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteRetriever, "TRIES", 1)
    data = tmp_path / "q.jsonl"
    data.write_text(json.dumps({"question": "who", "golden_answers": ["Ann"]}))
    options = {"questions": data, "retriever_url": "http://127.0.0.1:9", "objectives": 1, "turns": 2}
    asked = Searching("search", options, str(checkpoint), recipe="sgd", budget=2000)
    with pytest.raises(EngineError, match="start it"):
        run(asked, model, ["mem1"], [1], tmp_path / "run")
    assert not list(read_records(tmp_path / "run"))
    monkeypatch.setattr(RemoteRetriever, "find", lambda *_: "Ann wrote it")
    assert run(asked, model, ["mem1"], [1], tmp_path / "run") == 0
    assert [found["failed"] for found in read_records(tmp_path / "run") if found["type"] == "episode"] == [None]


def test_more_memories_and_seeds_join_a_run_but_no_other_settings(
    model: Model, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    run(spec(checkpoint), model, ["none"], [1], tmp_path)
    run(spec(checkpoint), model, MEMORIES, SEEDS, tmp_path)
    assert lines(tmp_path) == lines(whole)
    with pytest.raises(DataError, match="holds another run") as error:
        run(spec(checkpoint, changes={"lr": 0.2}), model, ["none"], [1], tmp_path)
    assert "\n" not in str(error.value)


def test_progress_counts_questions_triggers_and_tokens(model: Model, checkpoint: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int, int, int]] = []
    run(spec(checkpoint), model, ["tmem"], [1], tmp_path, progress=lambda *pulse: seen.append(pulse))
    done, episodes, total, triggers, tokens = seen[-1]
    assert done == total > 0 and episodes == 3 and triggers == 3 and tokens > 500
    assert seen == sorted(seen)
    again: list[tuple[int, ...]] = []
    run(spec(checkpoint), model, ["none"], [1], tmp_path, progress=lambda *pulse: again.append(pulse))
    assert again[-1][:3] == (total, 3, total)  # of this command, not of all that the folder holds


def test_what_cannot_work_is_noticed_before_the_work(model: Model, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="memory for searching"):
        run(spec(checkpoint), model, ["none", "mem1"], [1], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(DataError, match="cannot be written"):
        run(spec(checkpoint), model, ["none"], [1], checkpoint / "tmem.json" / "below")


# ---- the files alone ----


def record(question: str) -> list[dict[str, Any]]:
    cost = {"llm_calls": 1, "prompt_tokens": 2, "new_tokens": 3}
    return [
        {"type": "episode", "memory": "m", "seed": 1, "questions": [question], "build": {"triggers": 4, **cost}},
        {"type": "question", "memory": "m", "seed": 1, "id": question, "answer": cost},
    ]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    records = Records(tmp_path, 0)
    records.add(record("a"))
    with open(records.path, "a") as file:
        file.write("{half\n")
    with pytest.raises(DataError, match="line 3"):
        records.add(record("b"))
    with pytest.raises(DataError, match=r"records-0\.jsonl: line 3 is damaged"):
        list(read_records(tmp_path))
    with pytest.raises(DataError, match="line 3"):
        Records(tmp_path, 1)


def test_records_of_others_are_seen_and_nothing_is_written_twice(tmp_path: Path) -> None:
    one, other = Records(tmp_path, 0), Records(tmp_path, 1)
    one.add(record("a"))
    assert not other.has("m", 1, ["a"])
    other.refresh()
    assert other.has("m", 1, ["a"]) and (other.triggers, other.tokens) == (4, 10)
    other.add([*record("a"), *record("b")])
    one.refresh()
    assert sorted(r.get("id", "") for r in read_records(tmp_path)) == ["", "", "a", "b"]


def test_an_episode_is_done_whichever_of_its_questions_was_answered_first(tmp_path: Path) -> None:
    records = Records(tmp_path, 0)
    [episode, question], [_, other] = record("a"), record("b")
    episode["questions"] = ["b", "a"]  # b was refused at once
    records.add([episode, other, question])
    assert records.has("m", 1, ["a", "b"])
    records.add([episode | {"questions": ["a", "b"]}])
    assert len(list(read_records(tmp_path))) == 3


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(tmp_path, 0)
    records.add(record("a"))
    before = records.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device") as error:
            records.add(record("b"))
    assert "\n" not in str(error.value) and records.path.read_bytes() == before
    records.add(record("b"))
    assert records.has("m", 1, ["b"])


def test_an_unfinished_last_line_is_cut_off(tmp_path: Path) -> None:
    records = Records(tmp_path, 0)
    records.add(record("a"))
    whole = records.path.read_bytes()
    records.path.write_bytes(whole + b'{"type": "ques')
    assert len(list(read_records(tmp_path))) == 2
    assert repair(tmp_path) == 1 and records.path.read_bytes() == whole and repair(tmp_path) == 0


def test_a_claim_is_one_process_s_and_free_when_it_is_dropped(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(("m", 1, "a")) and not other.take(("m", 1, "a")) and other.take(("m", 2, "a"))
    one.drop(("m", 1, "a"))
    assert other.take(("m", 1, "a"))
    other.close()
    assert one.take(("m", 2, "a"))


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tmem.evaluation.records.files import Claims\n"
        f"c = Claims(Path({str(tmp_path)!r})); print(c.take(('m', 1, 'a')), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "True"
    claims = Claims(tmp_path)
    assert not claims.take(("m", 1, "a"))
    process.kill()
    process.wait()
    assert claims.take(("m", 1, "a"))
