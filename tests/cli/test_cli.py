"""The commands as a user meets them: one object on stdout, one line per error, the right exit code."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from cli.running import Run, one_object
from safetensors import safe_open

from tmem import assets
from tmem.tasks import clbench, longmemeval
from tmem.tasks.locomo import load as load_conversations


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-shaped directory with random weights: the paper's prompts, room for them."""
    folder = checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3")
    settings = {"window": 4096, "budget": 300, "max_new_tokens_extract": 12, "max_new_tokens_answer": 4}
    settings["max_new_tokens_memory"] = 12
    (folder / "tmem.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def world(tmem: Run, tmp_path: Path) -> Path:
    path = tmp_path / "world.json"
    assert tmem("world", "--out", path, "--sessions", 3, "--facts", 12, "--conversations", 2)[0] == 0
    return path


def test_world_writes_what_the_loader_reads_and_the_seed_decides_it(tmem: Run, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for path, seed in zip(paths, (5, 5, 6), strict=True):
        code, out, err = tmem("world", "--out", path, "--seed", seed, "--sessions", 2, "--facts", 8, "--json")
        assert (code, err) == (0, "") and one_object(out)["questions"] > 8
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    [conversation] = load_conversations(paths[0])
    assert len(conversation.sessions) == 2 and len(conversation.facts) == 8


@pytest.mark.parametrize("memory", ["tmem", "none", "tail", "full"])
def test_run_on_a_checkpoint_made_on_the_spot(
    tmem: Run, world: Path, checkpoint: Path, tmp_path: Path, memory: str
) -> None:
    folder = tmp_path / "out"
    argv = ("run", world, "--model", checkpoint, "--questions", 2, "--memory", memory, "--out", folder, "--json")
    code, out, err = tmem(*argv)
    assert (code, err) == (0, "")
    result = one_object(out)
    assert result["memory"] == memory and result["question_known"] == (memory == "tmem")
    assert len(result["questions"]) == 2 and result["sessions"] == 3
    assert (result["triggers"] > 0) == (memory in ("tmem", "tail"))
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert answers == result["questions"]
    steps = [json.loads(line) for line in (folder / "trajectory.jsonl").read_text().splitlines()]
    assert sum(step.get("kind") == "answer" for step in steps) == 2
    assert sum("account" in step for step in steps) == (2 * result["triggers"] if memory == "tmem" else 0)


def test_run_twice_is_the_same_also_in_another_process(tmem: Run, world: Path, checkpoint: Path) -> None:
    argv = ["run", world, "--model", checkpoint, "--questions", "1", "--seed", "4", "--lr", "0.1", "--json"]
    here = one_object(tmem(*argv)[1])
    script = "from tmem.cli import main; main()"
    there = subprocess.run([sys.executable, "-c", script, *map(str, argv)], capture_output=True, text=True, check=True)
    assert one_object(there.stdout) == here
    assert here["lr"] == 0.1
    assert there.stderr == ""


def test_run_for_people_says_what_a_persona_model_cannot_do(tmem: Run, tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "dia_id": "D1:1", "text": "I moved to Oslo."}]
    talk = {"speaker_a": "Ann", "speaker_b": "Bob", "session_1_date_time": "1:00 pm on 8 May, 2023", "session_1": turns}
    qa = [{"question": "Where does Ann live?", "answer": "Oslo", "evidence": ["D1:1"], "category": 4}]
    path = tmp_path / "real.json"
    path.write_text(json.dumps([{"sample_id": "real", "conversation": talk, "qa": qa}]))
    code, out, _ = tmem("run", path)
    assert code == 0 and "Where does" in out
    assert "expected to be near zero" in " ".join(out.split())


def test_eval_persona_prints_every_figure(tmem: Run, quick_model: Path) -> None:
    argv = ("eval", "persona", "--facts", 4, "--limit", 2, "--seeds", "3", "--memory", "tmem,none,memagent", "--json")
    argv += ("--model", quick_model)
    code, out, err = tmem(*argv)
    assert (code, err) == (0, "")
    result = one_object(out)
    assert result["recipe"]["name"] == "tmem" and result["data"].keys() == {"facts", "people", "sha256"}
    first, none, summary = result["memories"]
    assert {"seeds", "episodes", "em", "f1", "by_category", "extraction", "triggers", "seconds"} <= first.keys()
    assert set(first["extraction"]) == {"recall", "precision", "valid_json"}
    assert all(set(row) == {"em", "f1", "n"} for row in first["by_category"].values())
    assert none["memory"] == "none" and none["extraction"] is None and none["n"] == first["n"] == summary["n"]
    again = one_object(tmem(*argv)[1])
    for one, other in zip(result["memories"], again["memories"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_eval_counts_the_episodes_that_are_asked_for(tmem: Run, quick_model: Path, tmp_path: Path) -> None:
    argv = ("eval", "everyday", "--memory", "none", "--model", quick_model, "--out", tmp_path / "run", "--json")
    first = one_object(tmem(*argv, "--limit", 1)[1])["memories"][0]
    both = one_object(tmem(*argv, "--limit", 2)[1])["memories"][0]
    assert one_object(tmem(*argv, "--limit", 1)[1])["memories"][0] == first
    assert first["episodes"] == 1 and both["episodes"] == 2


def test_eval_persona_for_people(tmem: Run) -> None:
    code, out, _ = tmem("eval", "persona", "--facts", 4, "--episodes", 1)
    assert code == 0 and "single-hop" in out and "extraction:" in out


def test_models_lists_what_is_embedded(tmem: Run) -> None:
    code, out, _ = tmem("models", "--json")
    models = {row["model"]: row for row in one_object(out)["models"]}
    assert code == 0 and "persona-nano" in models
    for name in ("persona-nano", "persona-small"):
        with safe_open(assets.path(name) / "model.safetensors", "numpy") as file:
            held = sum(math.prod(file.get_slice(part).get_shape()) for part in file.keys())  # noqa: SIM118
        assert models[name]["parameters"] == held
    assert all(row["results"] for row in models.values())
    assert "persona-nano" in tmem("models")[1]


def test_version(tmem: Run) -> None:
    code, shown, errors = tmem("--version")
    first, python, *libraries = shown.splitlines()
    assert (code, first, errors) == (0, f"tmem {version('tmem')}", "") and python.startswith("Python 3.")
    assert f"torch {version('torch')}" in libraries[0] and any(line.startswith("extra json: ") for line in libraries)


def test_the_demo_shows_every_step(tmem: Run, quick_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.cli.demo.FACTS", 6)
    code, out, _ = tmem("demo", "--seed", 2, "--model", quick_model)
    assert code == 0
    for step in ("reads", "extracts", "writes them into Delta", "before", "after", "exact match", "TMEM"):
        assert step in out, step
    ending = " ".join(out.partition("Forget one pair")[2].split())
    assert "the same when trained from nothing" in ending and "its text is nowhere in the home" in ending


def _broken(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], Path]:
    def make(world: Path, target: Path) -> Path:
        samples = json.loads(world.read_text())
        change(samples[0])
        target.write_text(json.dumps(samples))
        return target

    return make


def _no_sessions(sample: dict[str, Any]) -> None:
    for key in [key for key in sample["conversation"] if key.startswith("session")]:
        del sample["conversation"][key]


BAD_FILES: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing": (lambda world, target: target, "no such file"),
    "not json": (lambda world, target: target.write_text("{") and target, "not valid JSON"),
    "not a list": (lambda world, target: target.write_text("{}") and target, "not a JSON list"),
    "no sessions": (_broken(_no_sessions), "no sessions"),
    "odd caption": (_broken(lambda s: s["conversation"]["session_1"][0].update(blip_caption=[1])), "'blip_caption'"),
    "no questions": (_broken(lambda sample: sample.update(qa=[])), "no questions"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_and_nothing_is_written(
    tmem: Run, world: Path, checkpoint: Path, tmp_path: Path, name: str
) -> None:
    make, message = BAD_FILES[name]
    path, folder = make(world, tmp_path / "bad.json"), tmp_path / "out"
    code, out, err = tmem("run", path, "--model", checkpoint, "--out", folder)
    assert code in (1, 2) and out == ""
    assert message in err and err.startswith("tmem: ") and err.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("run", "{world}", "--sample", "conv-1"), 2, "--sample conv-1"),
        (("run", "{world}", "--model", "persona-giant"), 1, "unknown model 'persona-giant'"),
        (("run", "{world}", "--lr", "-1"), 2, "lr"),
        (("run", "{world}", "--lr", "nan"), 2, "lr"),
        (("run", "{world}", "--memory", "elephant"), 2, "elephant"),
        (("run", "{world}", "--budget", "0"), 2, "budget"),
        (("world", "--out", "{world}", "--facts", "81"), 2, "80"),
        (("eval", "persona", "--facts", "81"), 2, "80"),
        (("eval", "persona", "--data", "{world}"), 2, "tmem eval persona brings its own questions: leave out --data"),
        (("eval", "locomo"), 2, "tmem eval locomo needs --data"),
        (
            ("eval", "locomo", "--data", "{world}", "--facts", "8"),
            2,
            "--facts is of tmem eval persona: leave it out of tmem eval locomo",
        ),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_usage(tmem: Run, world: Path, argv: tuple[str, ...], code: int, message: str) -> None:
    before = world.read_bytes()
    got, out, err = tmem(*(part.format(world=world) for part in argv))
    assert got == code and message in err and out == "" and "Traceback" not in err
    assert world.read_bytes() == before


def test_debug_shows_the_traceback(tmem: Run, tmp_path: Path) -> None:
    from tmem.errors import DataError

    with pytest.raises(DataError):
        tmem("--debug", "run", tmp_path / "missing.json")


def test_text_in_brackets_is_shown_as_it_is(tmem: Run, world: Path, tmp_path: Path) -> None:
    text = world.read_text().replace('"question": "', '"question": "[/b] [photo] \\ud83d ')
    path = tmp_path / "brackets.json"
    path.write_text(text)
    code, out, err = tmem("run", path, "--questions", 1, "--memory", "none")
    assert (code, err) == (0, "") and "[/b]" in out and "[photo]" in out


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_work(tmem: Run, world: Path) -> None:
    for argv in (("run", world, "--questions", 1, "--memory", "none"), ("world",)):
        code, out, err = tmem(*argv, "--out", world / "below-a-file" / "x")
        assert (code, out) == (1, "") and err.count("\n") == 1 and "cannot be written" in err


def test_json_beyond_what_python_reads_is_one_line(tmem: Run, tmp_path: Path) -> None:
    for name, text in (("digits", "1" * 5000), ("depth", "[" * 200_000)):
        path = tmp_path / name
        path.write_text(text)
        code, out, err = tmem("run", path)
        assert (code, out) == (1, "") and err.count("\n") == 1 and str(path) in err


def test_demo_and_gold_pairs_with_prompts_that_know_the_question(
    tmem: Run, tmp_path: Path, quick_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.cli.demo.FACTS", 4)
    folder = tmp_path / "known"
    shutil.copytree(quick_model, folder)
    settings = json.loads((folder / "tmem.json").read_text()) | {"question_known": True}
    (folder / "tmem.json").write_text(json.dumps(settings))
    argv = ("eval", "persona", "--memory", "gold", "--facts", 4, "--limit", 1, "--model", folder, "--json")
    code, out, _ = tmem(*argv)
    assert code == 0 and one_object(out)["memories"][0]["extraction"]["recall"] == 1.0
    code, out, _ = tmem("demo", "--model", folder)
    assert code == 0 and "All text is gone" in out


# ---- measuring ----


def test_eval_locomo_records_and_reports(
    tmem: Run, world: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # which says how wide output is that nobody looks at
    folder, page = tmp_path / "run", tmp_path / "page.html"
    argv = ("eval", "locomo", "--data", world, "--model", checkpoint, "--memory", "none,rag,tmem", "--questions", 1)
    code, out, err = tmem(*argv, "--limit", 1, "--out", folder, "--json")
    assert code == 0 and err.startswith("tmem: world.json is not a published file") and "Replies cut off" in err
    result = one_object(out)
    assert result["scorers"] == ["tmem_token", "amem_set"] and result["data"]["known"] is None
    assert [item["memory"] for item in result["memories"]] == ["none", "rag", "tmem"]
    questions = [json.loads(line) for line in (folder / "records-0.jsonl").read_text().splitlines()]
    questions = [line for line in questions if line["type"] == "question"]
    # The world's kinds: one question of each official category, in three memories.
    assert 3 * 4 <= len(questions) <= 3 * 5 and len({line["data_sha256"] for line in questions}) == 1
    code, out, err = tmem("eval", "report", folder, "--html", page)
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) > 100 and "<html" in page.read_text()
    report = one_object(tmem("eval", "report", folder, "--json")[1])
    assert len(report["runs"]) == 1


def test_eval_longmemeval_and_search_and_clbench(
    tmem: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in (clbench, longmemeval):
        monkeypatch.setattr(task, "ANSWER_TOKENS", 12)
    chats = [[{"role": "user", "content": "I repaired three bikes."}, {"role": "assistant", "content": "Great."}]]
    instance = {
        "question_id": "q1", "question_type": "multi-session", "question": "How many?", "answer": 3,
        "question_date": "2023/05/30", "haystack_session_ids": ["s"], "haystack_dates": ["2023/05/20"],
        "haystack_sessions": chats, "answer_session_ids": ["s"],
    }  # fmt: skip
    row = {
        "messages": [{"role": "user", "content": "RULES"}, {"role": "user", "content": "How many?"}],
        "rubrics": ["Four."],
        "metadata": {"task_id": "t"},
    }
    files = {
        "longmemeval": json.dumps([instance]),
        "search": json.dumps({"question": "who", "golden_answers": ["Ann"]}),
        "corpus": json.dumps({"id": "0", "contents": "Ann\nAnn wrote it."}),
        "clbench": json.dumps(row),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    more = {
        "longmemeval": ("--memory", "tmem,memagent", "--budget", 20),
        "search": ("--memory", "mem1,none,tmem", "--corpus", tmp_path / "corpus", "--objectives", 1, "--turns", 2),
        "clbench": ("--memory", "tmem", "--accept-eval-license", "--out", tmp_path / "run"),
    }
    for name, options in more.items():
        argv = ("eval", name, "--data", tmp_path / name, "--model", checkpoint, *options, "--json")
        code, out, err = tmem(*argv)
        assert code == 0, err
        assert ("Episodes without a trigger" in err) == (name != "longmemeval"), err
        assert all(item["n"] == 1 for item in one_object(out)["memories"])
    argv = ("eval", "clbench", "--data", tmp_path / "clbench", "--model", checkpoint)
    assert "give --out" in tmem(*argv)[2]
    code, out, err = tmem(*argv, "--out", tmp_path / "other")
    assert code == 2 and "--accept-eval-license" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--memory", "rga"), "unknown memory 'rga'"),
        (("--memory", "mem1"), "memory for searching"),
        (("--seeds", "one"), "--seeds one: give whole numbers"),
        (("--set", "rank"), "--set rank: write FIELD=VALUE"),
        (("--set", "rank=many"), "rank"),
        (("--set", "colour=red"), "colour"),
        (("--set", "name=x"), "a recipe has no 'name'"),
        (("--memory", " , "), "--memory"),
        (("--seeds", ","), "--seeds"),
    ],
)
def test_eval_options_that_cannot_work(tmem: Run, options: tuple[str, ...], problem: str) -> None:
    code, out, err = tmem("eval", "persona", "--facts", 4, "--limit", 1, *options)
    assert (code, out) == (2, "") and problem in err and err.count("\n") == 1


def test_eval_everyday_has_two_halves(tmem: Run) -> None:
    code, out, err = tmem("eval", "everyday", "--half", "train")
    assert (code, out) == (2, "") and "--half train: there are dev and test" in err and err.count("\n") == 1


def test_eval_needs_its_data(tmem: Run, tmp_path: Path) -> None:
    code, _, err = tmem("eval", "locomo")
    assert code == 2 and "needs --data" in err
    code, _, err = tmem("eval", "longmemeval", "--data", tmp_path / "none")
    assert code == 1 and "no such file" in err and err.count("\n") == 1
    code, _, err = tmem("eval", "report", tmp_path)
    assert code != 0 and err.count("\n") == 1


def test_score_predictions(tmem: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prediction": "The beach", "gold": "beach", "category": 4}\n')
    code, out, err = tmem("score", "--predictions", path, "--scorer", "locomo_official", "--json")
    assert (code, err) == (0, "")
    assert one_object(out) == {
        "scorer": "locomo_official",
        "n": 1,
        "f1": 100.0,
        "em": 100.0,
        "by_category": {"4": {"n": 1, "f1": 100.0, "em": 100.0}},
        "scores": [{"f1": 1.0, "em": 1.0}],
    }
    code, out, _ = tmem("score", "--predictions", path)
    assert code == 0 and "66.67" in out
    for argv, problem in (
        (("score",), "either a recorded run or --predictions"),
        (("score", tmp_path), "--judge-url and --judge-model"),
        (("score", "--predictions", path, "--scorer", "bleu"), "unknown scorer"),
    ):
        code, _, err = tmem(*argv)
        assert code == 2 and problem in err and err.count("\n") == 1


def test_score_has_a_run_judged(tmem: Run, tmp_path: Path) -> None:
    from evaluation.chat_server import ChatServer

    (tmp_path / "run.json").write_text('{"bench": "longmemeval"}')
    question = {
        "type": "question", "memory": "tmem", "seed": 1, "id": "q", "question": "Q?", "gold": ["A"], "prediction": "A",
        "category": "multi-session", "judging": {"question_type": "multi-session"},
    }  # fmt: skip
    (tmp_path / "records-0.jsonl").write_text(json.dumps(question) + "\n")
    with ChatServer(lambda prompt: "yes") as server:
        argv = ("score", tmp_path, "--judge-url", server.url, "--judge-model", "m")
        result = one_object(tmem(*argv, "--json")[1])
        assert result["memories"]["tmem"]["accuracy"] == 100 and result["calibration"]["false_accept"] == 1.0
        code, out, _ = tmem(*argv)
    assert code == 0 and "accepts 100% of the wrong ones" in " ".join(out.split())
