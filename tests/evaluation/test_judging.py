"""Judging a recorded run over a real socket: kept as it goes, resumed, never generating anything again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation.chat_server import ChatServer, Raw

from tmem.errors import DataError, TmemError, UsageError
from tmem.evaluation.endpoint import Endpoint
from tmem.evaluation.judging import file_name, judge_run

NAME = file_name("judge/one")


def judgements(folder: Path) -> Path:
    return folder / f"judgements-{NAME}.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of LongMemEval: two memories, three questions each."""
    (tmp_path / "run.json").write_text(json.dumps({"bench": "longmemeval"}))
    lines = [
        {
            "type": "question",
            "memory": memory,
            "seed": 1,
            "id": f"q{number}",
            "question": f"Which number is {number}?",
            "gold": [str(number)],
            "prediction": f"{memory} says {number}",
            "category": "multi-session",
            "judging": {"question_type": "multi-session"},
        }
        for memory in ("tmem", "none")
        for number in range(3)
    ]
    (tmp_path / "records-0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def endpoint(server: ChatServer) -> Endpoint:
    return Endpoint(server.url, "judge/one", tries=1, sleep=lambda _: None)


CHECK = "Answer with the word yes and nothing else."


def fond_of_tmem(prompt: str) -> str:
    return "yes" if "tmem says" in prompt or prompt == CHECK else "no"


def test_every_answer_is_judged_once_and_kept(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server), lambda *pulse: seen.append(pulse), workers=2)
        calls = len(server.requests)
        again = judge_run(folder, endpoint(server))
        assert len(server.requests) - calls == calls - 6  # the check and the calibration, and no answer anew
    assert found["memories"] == again["memories"]
    assert found["memories"]["tmem"] == {
        "n": 3,
        "accuracy": 100.0,
        "official": 100.0,
        "failed": 0,
        "unreadable": 0,
        "by_category": {"multi-session": 100.0},
        "task_average": 100.0,
        "abstention": None,
        "without_abstention": 100.0,
    }
    assert found["memories"]["none"]["accuracy"] == 0.0
    assert seen[-1] == (6, 6)
    kept = [json.loads(line) for line in judgements(folder).read_text().splitlines()]
    assert len(kept) == 6 and all(line["template_sha256"] == found["template_sha256"] for line in kept)
    rates = json.loads((folder / f"calibration-{NAME}.json").read_text())
    assert rates["judge_model"] == "judge/one" and rates["false_reject"] == 1.0 and rates["false_accept"] == 0.0


def test_failed_calls_count_as_wrong_and_are_tried_again(folder: Path) -> None:
    def half_down(prompt: str) -> str | Raw:
        return Raw(status=500) if "tmem says 1" in prompt else fond_of_tmem(prompt)

    with ChatServer(half_down) as server:
        found = judge_run(folder, endpoint(server))
    tmem = found["memories"]["tmem"]
    assert (tmem["accuracy"], tmem["failed"], tmem["unreadable"]) == (pytest.approx(200 / 3), 1, 0)
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
    assert (found["memories"]["tmem"]["accuracy"], found["memories"]["tmem"]["failed"]) == (100.0, 0)


def test_half_a_judgement_that_a_crash_left_is_judged_again(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
        path = judgements(folder)
        path.write_bytes(path.read_bytes()[:-25])
        judge_run(folder, endpoint(server))
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(kept) == 6 and len({(line["memory"], line["id"]) for line in kept}) == 6


def test_what_cannot_be_judged_is_one_line(folder: Path, tmp_path: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        pass
    with pytest.raises(TmemError) as error:  # the server is gone
        judge_run(folder, endpoint(server))
    assert "\n" not in str(error.value) and not list(folder.glob("judgements-*"))
    with ChatServer(fond_of_tmem) as server:
        (folder / "run.json").write_text(json.dumps({"bench": "locomo"}))
        with pytest.raises(UsageError, match="locomo has no judge"):
            judge_run(folder, endpoint(server))
        (folder / "run.json").unlink()
        with pytest.raises(DataError, match=r"no run\.json"):
            judge_run(folder, endpoint(server))


def test_another_judge_s_verdicts_are_kept_apart(folder: Path) -> None:
    def verdicts(name: str, reply: Any) -> dict[str, Any]:
        with ChatServer(lambda prompt: "yes" if prompt == CHECK else reply(prompt)) as server:
            return judge_run(folder, Endpoint(server.url, name, tries=1))["memories"]

    assert verdicts("strict", lambda prompt: "no")["tmem"]["accuracy"] == 0
    assert verdicts("kind", lambda prompt: "yes")["tmem"]["accuracy"] == 100
    assert verdicts("k/ind", lambda prompt: "no")["tmem"]["accuracy"] == 0
    assert verdicts("k-ind", lambda prompt: "yes")["tmem"]["accuracy"] == 100


def test_replies_that_cannot_be_read_are_counted(folder: Path) -> None:
    with ChatServer(lambda prompt: "INCORRECT, not yes" if prompt != CHECK else "yes") as server:
        tmem = judge_run(folder, endpoint(server))["memories"]["tmem"]
    assert (tmem["accuracy"], tmem["official"], tmem["unreadable"]) == (0.0, 100.0, 3)


def test_a_verdict_belongs_to_its_answer(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
    path = folder / "records-0.jsonl"
    path.write_text(path.read_text().replace("tmem says 1", "nobody says 1"))
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
    assert found["memories"]["tmem"]["accuracy"] == pytest.approx(200 / 3)


def test_means_that_longmemeval_is_reported_by(folder: Path) -> None:
    path = folder / "records-0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"category": "single-session-user", "judging": {"question_type": "single-session-user"}}
    lines[1] |= {"id": "q1_abs"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with ChatServer(lambda prompt: "no" if "says 0" in prompt else "yes") as server:
        tmem = judge_run(folder, endpoint(server))["memories"]["tmem"]
    assert tmem["by_category"] == {"multi-session": 100.0, "single-session-user": 0.0}
    assert (tmem["task_average"], tmem["abstention"], tmem["without_abstention"]) == (50.0, 100.0, 50.0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "[]"),
        ("run.json", '{"bench": ["x"]}'),
        ("records-0.jsonl", '{"type": "question"}\n'),
        ("judgements-NAME.jsonl", "{}\n"),
    ],
)
def test_a_damaged_folder_is_one_line(folder: Path, name: str, content: str) -> None:
    (folder / name.replace("NAME", NAME)).write_text(content)
    with ChatServer(fond_of_tmem) as server, pytest.raises(DataError, match="of tmem"):
        judge_run(folder, endpoint(server))
