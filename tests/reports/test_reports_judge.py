"""What users of other evaluations reported of judges and data files, tried on this one; the table: docs/log.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation.chat_server import ChatServer, Raw

from tmem.errors import DataError
from tmem.evaluation.judging.endpoint import Endpoint, RefusedError
from tmem.evaluation.judging.judge import LongMemEvalJudge
from tmem.evaluation.judging.run import judge_run
from tmem.tasks.locomo import parse_sample
from tmem.tasks.longmemeval import LongMemEval, parse_instance
from tmem.tasks.scoring import SCORERS
from tmem.texts import NO_INFORMATION


def endpoint(server: ChatServer) -> Endpoint:
    return Endpoint(server.url, "judge", tries=2, sleep=lambda _: None)


def completion(content: Any, reason: str = "stop") -> str:
    return json.dumps({"choices": [{"message": {"content": content}, "finish_reason": reason}]})


def refusal(message: str, **more: str) -> Raw:
    return Raw(json.dumps({"error": {"message": message, "type": "invalid_request_error", **more}}), status=400)


class Thinker(ChatServer):
    """Takes neither max_tokens nor a temperature, as models that think do not."""

    def __init__(self) -> None:
        super().__init__(self.answer)

    def answer(self, prompt: str) -> str | Raw:
        body = self.requests[-1][2]
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return refusal(said, param="max_tokens", code="unsupported_parameter")
        if "temperature" in body:
            return refusal("Only the default (1) is supported.", param="temperature", code="unsupported_value")
        return "yes"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A recorded run of LongMemEval: three answers, one to a question that cannot be answered."""
    (tmp_path / "run.json").write_text(json.dumps({"bench": "longmemeval"}))
    lines = []
    for name, kind in (("q0", "multi-session"), ("q1", "multi-session"), ("q2_abs", "knowledge-update")):
        record = {"type": "question", "memory": "tmem", "seed": 1, "id": name, "question": "Which?", "gold": ["1"]}
        record |= {"prediction": f"{name} says", "category": kind, "judging": {"question_type": kind}}
        lines.append(json.dumps(record) + "\n")
    (tmp_path / "records-0.jsonl").write_text("".join(lines))
    return tmp_path


def test_a_judge_that_takes_no_limit_and_no_temperature_is_asked_in_its_own_words(run: Path) -> None:
    """livekit agents #3556: models of this kind could not be judges."""
    with Thinker() as server:
        result = judge_run(run, endpoint(server), workers=1, max_tokens=900)
        assert result["memories"]["tmem"]["accuracy"] == 100.0 and result["memories"]["tmem"]["failed"] == 0
        assert ["takes no temperature but its own" in text for text in result["warnings"]] == [True]
        refused, last = server.requests[:2], server.requests[-1][2]
        assert [sorted(body.keys() - {"model", "messages"}) for _, _, body in refused] == [
            ["max_tokens", "temperature"],
            ["max_completion_tokens", "temperature"],
        ]
        assert last["max_completion_tokens"] == 900 and not {"max_tokens", "temperature"} & last.keys()
        [account] = run.glob("judge-*.json")
        assert json.loads(account.read_text())["temperature"] is None
        asked = len(server.requests)
        judge_run(run, endpoint(server), workers=1, max_tokens=900)
        assert len(server.requests) == asked  # nothing is judged, nor calibrated, again


UNTAKEN = {
    "text": '{"error": "Unsupported parameter: %s"}',
    "OpenAI": '{"error": {"message": "Unsupported parameter: %s", "param": "%s", "code": "unsupported_parameter"}}',
    "FastAPI": '{"detail": [{"type": "extra_forbidden", "loc": ["body", "%s"], "msg": "Extra inputs"}]}',
    "vLLM": '{"object": "error", "message": "Unrecognized request argument supplied: %s", "code": 400}',
}


@pytest.mark.parametrize("said", UNTAKEN.values(), ids=UNTAKEN)
@pytest.mark.parametrize("status", [400, 422])
def test_a_judge_that_takes_no_limit_of_any_name_is_asked_without_one(said: str, status: int) -> None:
    """Servers say it in shapes of their own; what they do not know is named."""

    def reply(prompt: str) -> str | Raw:
        known = ("model", "messages")
        name = next((name for name in server.requests[-1][2] if name not in known), None)
        return "yes" if name is None else Raw(said.replace("%s", name), status=status)

    with ChatServer(reply) as server:
        judge = endpoint(server)
        assert judge.ask("?", max_tokens=10, temperature=0.0) == judge.ask("?", max_tokens=10, temperature=0.0) == "yes"
        assert judge.refused == {"max_tokens", "max_completion_tokens", "temperature"} and len(server.requests) == 5


def test_a_judge_that_takes_no_temperature_of_nothing_is_asked_without_one() -> None:
    """As text-generation-inference says it."""

    def reply(prompt: str) -> str | Raw:
        if "temperature" not in server.requests[-1][2]:
            return "yes"
        return Raw('{"error": "Input validation error: `temperature` must be strictly positive"}', status=422)

    with ChatServer(reply) as server:
        assert endpoint(server).ask("?", max_tokens=10, temperature=0.0) == "yes"


@pytest.mark.parametrize("message", ["max_tokens is too large: 20000", "temperature must be a number"])
def test_another_complaint_about_a_call_is_an_error(message: str) -> None:
    """repowise #987: a limit that is too large is a 400 about max_tokens as well."""
    with ChatServer(lambda prompt: refusal(message, param=message.split()[0], code="invalid_value")) as server:
        with pytest.raises(RefusedError, match=rf"HTTP 400: .*{message}"):
            endpoint(server).ask("?", max_tokens=20_000, temperature=0.0)
        assert len(server.requests) == 1


def test_a_reply_in_parts_is_its_text() -> None:
    """agent-framework #6978: models that think reply with a list of parts."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "no"}]}, {"type": "text", "text": "yes"}]
    with ChatServer(lambda prompt: Raw(completion(parts))) as server:
        assert endpoint(server).ask("?") == "yes"


@pytest.mark.parametrize("content", [None, "", [{"type": "thinking", "thinking": []}]])
def test_thoughts_that_leave_no_room_for_a_reply_are_named(content: Any) -> None:
    """rlm #188, fess #3061: all tokens went into thoughts, and nothing said so."""
    with ChatServer(lambda prompt: Raw(completion(content, "length"))) as server:
        with pytest.raises(RefusedError, match=r"judge came to no reply within its tokens.*allow more new tokens"):
            endpoint(server).check(10, 0.0)
        assert len(server.requests) == 1  # no waiting mends it


def test_an_unanswerable_question_has_its_own_rule_whatever_its_type(run: Path) -> None:
    """memorybench #82: ``_abs`` stands in the id, and was judged by the rule of the type."""
    judge = LongMemEvalJudge()
    record = {"id": "q_abs", "question": "Which?", "gold": ["never said"], "prediction": "I do not know"}
    prompt = judge.prompt(record | {"judging": {"question_type": "single-session-preference"}})
    assert "Explanation: never said" in prompt and "Rubric" not in prompt


def test_types_count_alike_in_their_mean(run: Path) -> None:
    """automem #241: the mean of the types, which papers give, is not that of the questions."""
    with ChatServer(lambda prompt: "no" if "q0 says" in prompt else "yes") as server:
        row = judge_run(run, endpoint(server), workers=1)["memories"]["tmem"]
    assert (row["task_average"], row["abstention"], row["without_abstention"]) == (75.0, 100.0, 50.0)
    assert row["accuracy"] == pytest.approx(200 / 3)


def test_adversarial_golds_are_not_the_tempting_answer() -> None:
    """locomo #41, A-mem #8: 444 of 446 have no ``answer``, and the tempting one was taken for right."""
    talk = {"speaker_a": "A", "speaker_b": "B", "session_1": [{"speaker": "A", "text": "Hi"}]}
    talk["session_1_date_time"] = "1:56 pm on 8 May, 2023"
    records: list[dict[str, Any]] = [
        {"question": "When?", "category": 5, "adversarial_answer": "in May"},
        {"question": "When?", "category": 5, "answer": "in June"},
        {"question": "When?", "category": 2, "answer": 2022},
    ]
    found = parse_sample({"sample_id": "s", "conversation": talk, "qa": records}).questions
    golds = [(NO_INFORMATION, "in May"), (NO_INFORMATION, "in June"), ("2022", None)]
    assert [(one.gold, one.distractor) for one in found] == golds
    score = SCORERS["locomo_official"]
    assert [score(said, (found[0].gold,), "adversarial").f1 for said in ("Not mentioned.", "in May")] == [1.0, 0.0]


INSTANCE: dict[str, Any] = {
    "question_id": "370a8ff4",
    "question_type": "temporal-reasoning",
    "question": "How many weeks?",
    "answer": 15,
    "question_date": "2023/10/15 (Sun) 17:53",
    "haystack_session_ids": ["b", "a"],
    "haystack_dates": ["2023/04/10 (Mon) 09:00", "2023/01/19 (Thu) 10:47"],
    "haystack_sessions": [[{"role": "user", "content": "tenth"}], [{"role": "user", "content": "first"}]],
    "answer_session_ids": ["a", "b"],
}


def test_an_answer_that_is_a_number_and_sessions_in_any_order(tmp_path: Path) -> None:
    """LongMemEval #19 and #3: an answer is the number 15, and one of the files is in no order."""
    found = parse_instance(INSTANCE)
    assert found.answer == "15" and [name for name, _, _ in found.sessions] == ["a", "b"]
    (tmp_path / "twice.json").write_text(json.dumps([INSTANCE, INSTANCE]))
    with pytest.raises(DataError, match="'370a8ff4' is used twice"):
        LongMemEval(tmp_path / "twice.json", official=False)
