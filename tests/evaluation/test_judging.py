"""Judging a recorded run over a real socket: kept as it goes, resumed, never generating anything again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation.chat_server import ChatServer, Raw

from tmem.errors import DataError, UsageError
from tmem.evaluation.judging.endpoint import Endpoint, RefusedError
from tmem.evaluation.judging.judge import LongMemEvalJudge, template_sha256
from tmem.evaluation.judging.run import file_name, fits, judge_run, recorded_judge
from tmem.evaluation.reporting.report import load_run

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
        assert len(server.requests) == calls == 1 + 6 + 24  # the check, the answers and the known answers, once
    assert found == again and found["warnings"] == []
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
    assert len(found["warnings"]) == 1 and found["warnings"][0].startswith("1 of 6 answers got no verdict")
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
        assert sum("says" in prompt and "number is" in prompt for prompt in server.prompts) == 1
    assert (found["memories"]["tmem"]["accuracy"], found["memories"]["tmem"]["failed"]) == (100.0, 0)


def test_a_judge_that_is_down_costs_few_waits_and_is_asked_again_next_time(folder: Path) -> None:
    slept: list[float] = []
    with ChatServer(lambda prompt: Raw(status=503)) as server:
        down = Endpoint(server.url, "judge/one", tries=2, sleep=slept.append)
        found = judge_run(folder, down, workers=1)
        assert len(server.requests) == 2 * 3  # three calls, the check among them, and none for the rest
    assert len(slept) == 3
    assert [row["failed"] for row in found["memories"].values()] == [3, 3]
    assert found["calibration"]["failed"] == 24 and not list(folder.glob("calibration-*"))
    check, count = found["warnings"]
    assert "HTTP 503" in check and count.startswith("6 of 6 answers got no verdict") and "HTTP 503" in count
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
    assert found["memories"]["tmem"]["accuracy"] == 100.0 and found["warnings"] == []
    assert found["calibration"]["failed"] == 0


def test_an_odd_reply_to_the_check_is_a_warning(folder: Path) -> None:
    with ChatServer(lambda prompt: "no") as server:
        found = judge_run(folder, endpoint(server))
    assert [row["accuracy"] for row in found["memories"].values()] == [0.0, 0.0]
    [warning] = found["warnings"]
    assert "asked to say yes, judge/one says 'no'" in warning and "\n" not in warning


def test_the_prompts_are_kept_beside_the_judgements(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
    account = json.loads((folder / f"judge-{NAME}.json").read_text())
    assert account["templates"] == LongMemEvalJudge.templates
    assert (account["judge_model"], account["url"]) == ("judge/one", server.url + "/chat/completions")
    assert account["template_sha256"] == found["template_sha256"] == template_sha256(LongMemEvalJudge())


def test_verdicts_under_earlier_prompts_can_still_be_told_from_stale_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(fond_of_tmem) as server:
        template = judge_run(folder, endpoint(server))["template_sha256"]
    monkeypatch.setattr(LongMemEvalJudge, "templates", {"general": "another prompt"})
    judge = recorded_judge(folder, "judge/one", template)
    assert judge is not None
    [judgement] = [
        one
        for one in map(json.loads, judgements(folder).read_text().splitlines())
        if (one["id"], one["score"]) == ("q1", 1)
    ]
    [record] = [
        one
        for one in map(json.loads, (folder / "records-0.jsonl").read_text().splitlines())
        if (one["id"], one["memory"]) == ("q1", "tmem")
    ]
    assert fits(judgement, record, judge)
    assert not fits(judgement, record | {"prediction": "anew"}, judge)
    assert not fits(judgement, record | {"judging": {}}, judge)
    assert recorded_judge(folder, "judge/one", "0" * 64) is None


def test_a_calibration_is_repeated_for_another_way_of_asking_alone(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
        calls = len(server.requests)
        judge_run(folder, endpoint(server), max_tokens=99)
        assert len(server.requests) - calls == 1 + 24
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server), max_tokens=99)
        assert len(server.requests) == 1 + 24  # the same name elsewhere need not be the same judge


def test_half_a_judgement_that_a_crash_left_is_judged_again(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
        path = judgements(folder)
        path.write_bytes(path.read_bytes()[:-25])
        judge_run(folder, endpoint(server))
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(kept) == 6 and len({(line["memory"], line["id"]) for line in kept}) == 6


def test_what_cannot_be_judged_is_one_line(folder: Path, tmp_path: Path) -> None:
    with ChatServer(lambda prompt: Raw(status=401)) as server, pytest.raises(RefusedError) as error:
        judge_run(folder, endpoint(server))
    assert "\n" not in str(error.value) and not list(folder.glob("jud*"))
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


def test_replies_that_cannot_be_read_are_counted_and_asked_for_again(folder: Path) -> None:
    with ChatServer(lambda prompt: "INCORRECT, not yes" if prompt != CHECK else "yes") as server:
        tmem = judge_run(folder, endpoint(server))["memories"]["tmem"]
    assert (tmem["accuracy"], tmem["official"], tmem["unreadable"]) == (0.0, 100.0, 3)
    with ChatServer(fond_of_tmem) as server:
        tmem = judge_run(folder, endpoint(server), max_tokens=99)["memories"]["tmem"]
    assert (tmem["accuracy"], tmem["unreadable"]) == (100.0, 0)


def test_a_verdict_belongs_to_its_answer(folder: Path) -> None:
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
    path = folder / "records-0.jsonl"
    path.write_text(path.read_text().replace("tmem says 1", "nobody says 1"))
    with ChatServer(fond_of_tmem) as server:
        found = judge_run(folder, endpoint(server))
    assert found["memories"]["tmem"]["accuracy"] == pytest.approx(200 / 3)


def test_a_report_leaves_out_verdicts_about_other_answers(folder: Path) -> None:
    about = {"bench": "longmemeval", "data": {}, "model": "m", "recipe": {}, "settings": {"budget": 1}}
    (folder / "run.json").write_text(json.dumps(about))
    path = folder / "records-0.jsonl"
    rest: dict[str, Any] = {"episode": "e", "scores": {}, "answer": {}, "age": None, "left_out": 0}
    lines = [json.loads(line) | rest for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with ChatServer(fond_of_tmem) as server:
        judge_run(folder, endpoint(server))
    [judge] = load_run(folder).judges
    assert (judge["judged"], judge["of"], judge["false_reject"]) == (6, 6, 1.0)
    path.write_text(path.read_text().replace("tmem says 1", "nobody says 1"))
    run = load_run(folder)
    assert run.judges[0]["judged"] == 5
    assert [question["id"] for question in run.questions if not question["values"]] == ["q1"]


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
