"""Judges over a real socket: what is asked, how replies are read, and that no record is lost whatever goes wrong."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from evaluation.chat_server import HANG_UP, ChatServer, Raw, Reply, completion, in_turn
from hypothesis import given
from hypothesis import strategies as st

from tmem.errors import DataError, UsageError
from tmem.evaluation.judging.calibration import CASES, CLBENCH, LONGMEMEVAL, Case, calibrate
from tmem.evaluation.judging.endpoint import LONGEST_WAIT, Endpoint, EndpointError, RefusedError
from tmem.evaluation.judging.judge import (
    ROUTES,
    ClBenchJudge,
    Judgement,
    LongMemEvalJudge,
    judge_records,
    template_sha256,
)

OVERLOADED = Raw("overloaded", status=500)


OPEN: list[Endpoint] = []


@pytest.fixture(autouse=True)
def no_proxy_no_key_nothing_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("TMEM_JUDGE_KEY", raising=False)
    yield
    while OPEN:
        OPEN.pop().close()


class Waits(list[float]):
    """Takes the place of time.sleep."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def at(url: str, slept: Waits | None = None, **options: Any) -> Endpoint:
    """An endpoint that notes its pauses instead of making them."""
    OPEN.append(Endpoint(url, "the-judge", sleep=Waits() if slept is None else slept, **options))
    return OPEN[-1]


def record(number: int = 0, prediction: str = "blue", **changes: Any) -> dict[str, Any]:
    judging = {"question_type": "single-session-user", "rubrics": ["is a colour", "is short"]}
    return {
        "id": f"q{number}",
        "memory": "tmem",
        "seed": 3,
        "question": "Which colour?",
        "gold": ["azure"],
        "prediction": prediction,
        "judging": judging,
    } | changes


def graded(*status: str, score: Any = 1, rationale: str = "so it is") -> str:
    return json.dumps(
        {
            "List of Requirement Satisfaction Status": status,
            "Overall Score": score,
            "Grading Rationale": rationale,
        }
    )


# ---- the endpoint ----


def test_what_is_sent() -> None:
    with ChatServer(in_turn("fine \u00e9", "cut \ud83d")) as server:
        endpoint = at(server.url + "/", key=" sk-1\n")
        assert endpoint.ask("Say {this} \ud83d", max_tokens=7, temperature=0.0) == "fine \u00e9"
        assert endpoint.ask("again") == "cut \ufffd"
    (path, headers, body), (_, _, plain) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-1"
    message = {"role": "user", "content": "Say {this} \ufffd"}
    assert body == {"model": "the-judge", "messages": [message], "max_tokens": 7, "temperature": 0.0}
    assert plain.keys() == {"model", "messages"}  # what is not set is left to the server


def test_the_key_comes_from_the_environment_or_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(in_turn("fine")) as server:
        at(server.url).ask("one")
        monkeypatch.setenv("TMEM_JUDGE_KEY", "sk-environment")
        at(server.url).ask("two")
    assert "Authorization" not in server.requests[0][1]
    assert server.requests[1][1]["Authorization"] == "Bearer sk-environment"


@pytest.mark.parametrize(
    ("replies", "waits"),
    [
        (["fine"], []),
        ([Raw(status=429, headers={"Retry-After": "7"}), "fine"], [7.0]),
        ([Raw(status=429, headers={"Retry-After": "0"}), "fine"], [1.0]),
        ([Raw(status=429, headers={"Retry-After": "99999"}), "fine"], [LONGEST_WAIT]),
        ([Raw(status=503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), "fine"], [1.0]),
        ([OVERLOADED, OVERLOADED, "fine"], [1.0, 2.0]),
        ([HANG_UP, "fine"], [1.0]),
        ([Raw("<html>"), Raw("[" * 9), Raw('{"error": "busy"}'), Raw('{"choices": []}'), "fine"], [1.0, 2.0, 4.0, 8.0]),
        ([Raw('{"choices": [{"message": "?"}]}'), "fine"], [1.0]),
        ([Raw(delay=5), "fine"], [1.0]),
    ],
)
def test_what_passes_is_waited_out(replies: list[Reply], waits: list[float]) -> None:
    slept = Waits()
    with ChatServer(in_turn(*replies)) as server:
        assert at(server.url, timeout=0.5, slept=slept).ask("?") == "fine"
    assert slept == waits
    assert len(server.requests) == len(replies)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (OVERLOADED, "HTTP 500: overloaded (try 3 of 3)"),
        (HANG_UP, "cannot be reached"),
        (Raw("not\nJSON"), "no reply in what it sent: not JSON (try 3 of 3)"),
        (Raw(delay=5), "no answer within 0.3 s (try 3 of 3)"),
    ],
)
def test_what_stays_is_an_error_after_the_last_try(reply: Reply, text: str) -> None:
    slept = Waits()
    with ChatServer(in_turn(reply)) as server:
        with pytest.raises(EndpointError) as error:
            at(server.url, timeout=0.3, tries=3, slept=slept).ask("?")
        assert str(error.value).startswith(f"{server.url}/chat/completions: ")
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert (slept, len(server.requests)) == ([1.0, 2.0], 3)


@pytest.mark.parametrize("content", [None, 7, [], [{"type": "image_url"}, "text"], {}])
def test_a_reply_without_text_is_an_error_at_once(content: Any) -> None:
    slept = Waits()
    with ChatServer(in_turn(Raw(completion(content)))) as server:
        endpoint = at(server.url, slept)
        for _ in range(4):
            with pytest.raises(EndpointError, match="a reply without text: ") as error:
                endpoint.ask("?")
        assert "\n" not in str(error.value) and len(server.requests) == 4
    assert slept == []


def test_a_reply_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "y"}, {"type": "reasoning"}, {"type": "text", "text": "es"}]
    with ChatServer(in_turn(Raw(completion(parts)))) as server:
        assert at(server.url).ask("?") == "yes"


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UsageError, match=r"the proxy that ALL_PROXY, .*; for none, unset it"):
        at("http://judge.example/v1")


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "correct the call"), (401, "set TMEM_JUDGE_KEY"), (404, "ends in /v1"), (307, "correct the call")],
)
def test_what_cannot_get_better_is_not_tried_again(status: int, advice: str) -> None:
    refusal = Raw(f"Incorrect API key\n provided: sk-secret {'x' * 500}", status=status)
    with ChatServer(in_turn(refusal)) as server:
        with pytest.raises(
            RefusedError, match=rf"HTTP {status}: Incorrect API key provided: \*\*\* x.*{advice}"
        ) as error:
            at(server.url, key="sk-secret").ask("?")
        assert len(server.requests) == 1
    assert "sk-secret" not in str(error.value)
    assert len(str(error.value)) < 400


def test_check_ends_early_where_no_waiting_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Waits()
    for status in (400, 401, 403, 404):
        with ChatServer(in_turn(Raw(status=status))) as server, pytest.raises(RefusedError, match=f"HTTP {status}"):
            at(server.url, slept=slept).check()

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(RefusedError, match=r"cannot be reached \(.*not known\); check the URL"):
        at("http://judge.invalid/v1", slept=slept).check()
    assert slept == []


def test_check_says_what_is_odd() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    slept = Waits()
    assert re.search(r"cannot be reached \(.*refused.*see that the server is up", at(nobody, slept=slept).check())
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0]
    slept.clear()
    for odd in (" \n", "<think>\nOkay, the user wants", "no", BOTH):
        with ChatServer(in_turn(odd)) as server:
            endpoint = at(server.url, slept=slept)
            limited = endpoint.check(max_tokens=10)
            assert "asked to say yes" in limited and limited.endswith("turn that off or allow more than 10 new tokens")
            assert endpoint.check().endswith("turn that off")
    assert slept == []
    with ChatServer(in_turn(Raw(status=429), "<think>\nyes or no?</think> Yes.")) as server:
        assert at(server.url, slept=slept).check(max_tokens=10, temperature=0.0) == ""
    assert server.requests[0][2]["max_tokens"] == 10 and len(slept) == 1  # a limit at the very first call is waited out


def test_a_server_that_stays_away_is_not_waited_for_by_every_call() -> None:
    slept = Waits()
    with ChatServer(lambda prompt: "fine" if prompt == "up" else OVERLOADED) as server:
        endpoint = at(server.url, slept=slept, tries=2, patience=3)
        for prompt in ("1", "2", "up", "3", "4", "5"):  # the third in a row is the last
            if prompt == "up":
                assert endpoint.ask(prompt) == "fine"
                continue
            with pytest.raises(EndpointError, match="HTTP 500"):
                endpoint.ask(prompt)
        asked = len(server.requests)
        with pytest.raises(EndpointError, match="not asked, 3 calls in a row failed: HTTP 500: overloaded"):
            endpoint.ask("up")
        assert len(server.requests) == asked == 11 and len(slept) == 5


@pytest.mark.parametrize(
    "url", ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:x/v1"]
)
def test_urls_that_cannot_work(url: str) -> None:
    with pytest.raises(UsageError, match="not the URL of an endpoint"):
        Endpoint(url, "m")


def test_secrets_in_wrong_places_are_not_repeated() -> None:
    for url, key in [
        ("http://me:hush@host/v1", None),
        ("http://host/v1", "hush\nhush"),
        ("http://host/v1", "hush\u00e9"),
    ]:
        with pytest.raises(UsageError, match="TMEM_JUDGE_KEY") as error:
            Endpoint(url, "m", key=key)
        assert "hush" not in str(error.value)


def test_without_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(UsageError, match=r"tmem\[eval\]"):
        Endpoint("http://host/v1", "m")


# ---- LongMemEval ----


@pytest.mark.parametrize("kind", ROUTES)
def test_each_type_has_its_own_rule(kind: str) -> None:
    judge = LongMemEvalJudge()
    question = record(question="WHAT {x}?", gold=["GOLD"], prediction="SAID {0}", judging={"question_type": kind})
    prompt = judge.prompt(question)
    gold = "Rubric" if kind == "single-session-preference" else "Correct Answer"
    assert f"\n\nQuestion: WHAT {{x}}?\n\n{gold}: GOLD\n\nModel Response: SAID {{0}}\n\n" in prompt
    assert prompt.endswith("Answer yes or no only.")
    assert ("off-by-one" in prompt) == (kind == "temporal-reasoning")
    assert ("old information" in prompt) == (kind == "knowledge-update")
    assert ("only a part" in prompt) == (kind not in ("knowledge-update", "single-session-preference"))
    assert "unanswerable" not in prompt

    abstention = judge.prompt(question | {"id": "7_abs_2"})
    assert abstention.startswith(judge.templates["abstention"].partition("{")[0])
    assert "Explanation: GOLD" in abstention
    assert "identifies the question as unanswerable" in abstention
    assert abstention.endswith("Answer yes or no only.")


@pytest.mark.parametrize("judging", [{}, {"question_type": "multi"}, {"question_type": None}])
def test_unknown_types_are_refused_before_anything_is_asked(judging: dict[str, Any]) -> None:
    records = [record(), record(7, judging=judging)]
    expected = pytest.raises(DataError, match=r"question q7: question_type is .* knows only single-session-user")
    with ChatServer(in_turn("yes")) as server, expected:
        judge_records(records, LongMemEvalJudge(), at(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    ("reply", "score", "official"),
    [
        ("yes", 1, 1),
        ("Yes.", 1, 1),
        ("**yes**", 1, 1),
        ("_Yes_, it does", 1, 1),
        ('\n> "YES"', 1, 1),
        ("<think>no, hm</think>\n\nyes", 1, 1),
        ("hm, or no?</think>yes", 1, 1),
        ("no", 0, 0),
        ("No, although yes would", 0, 1),
        ("NO!", 0, 0),
        ("INCORRECT, not yes", None, 1),
        ("INCORRECT", None, 0),
        ("CORRECT", None, 0),
        ("Yesterday ...", None, 1),
        ("yess", None, 1),
        ("not yes", None, 1),
        ("The answer is yes", None, 1),
        ("<think>Okay, yes, the user", None, 1),
        ("**", None, 0),
        ("", None, 0),
    ],
)
def test_yes_and_no_are_read_strictly(reply: str, score: int | None, official: int) -> None:
    verdict = LongMemEvalJudge().parse(reply, record())
    assert verdict.unreadable == (score is None)
    assert (verdict.score, verdict.satisfied, verdict.official) == (score or 0, score or 0, official)
    assert ("unreadable" in verdict.reason) == (score is None)


@given(st.text())
def test_only_a_yes_scores(reply: str) -> None:
    verdict = LongMemEvalJudge().parse(reply, record())
    assert verdict.score <= (verdict.official or 0)  # never more than the official reading, which is looser


# ---- CL-bench ----


def test_what_the_rubric_judge_is_told() -> None:
    judge = ClBenchJudge()
    prompt = judge.prompt(record(prediction='{"a": 1}', question="UNSEEN", gold=["HIDDEN"]))
    assert "Rubrics:\n1. is a colour\n2. is short\n\nStudent Response:\n" + '{"a": 1}\n\n' in prompt
    assert "UNSEEN" not in prompt
    assert "HIDDEN" not in prompt
    keys = ['{"List of Requirement Satisfaction Status": [2 in all', '"Overall Score": 0 or 1', '"Grading Rationale"']
    assert [prompt.index(key) for key in keys] == sorted(prompt.index(key) for key in keys)
    assert prompt.endswith("}")
    assert "No specific rubrics provided." in judge.prompt(record(judging={"rubrics": []}))
    for rubrics in (None, "one", [1]):
        with pytest.raises(DataError, match="question q0: 'rubrics' must be a list of texts"):
            judge.prompt(record(judging={"rubrics": rubrics}))


BOTH = graded("yes", "yes")


@pytest.mark.parametrize(
    ("reply", "satisfied", "official"),
    [
        (BOTH, 1.0, 1),
        (graded("yes", "no", score=0), 0.5, 0),
        (graded("no", "no", score="0"), 0.0, 0),
        (f"```json\n{BOTH}\n```", 1.0, 1),
        (f"Here it is:\n```\n{json.dumps(json.loads(BOTH), indent=4)}\n``` Good luck!", 1.0, 1),
        (graded("Yes", " YES ", score="1"), 1.0, 1),
        (BOTH.replace('"yes"', "'yes'"), 1.0, 1),
        (BOTH.replace('"yes"]', '"yes",\n]'), 1.0, 1),
        (BOTH[: BOTH.index('"Grading')], 1.0, 1),  # cut off in the rationale or before
        (BOTH[: BOTH.index('"Overall')], 1.0, None),
        (
            graded("yes", "yes", rationale='Not "Overall Score": 0 or "List of Requirement Satisfaction Status": []'),
            1.0,
            1,
        ),
        (f"<think>{graded('no', 'no', score=0)}</think>{BOTH}", 1.0, 1),
        (f"As in {graded('no', score=0)}: {BOTH}", 1.0, 1),
        (graded("yes", "yes", score=0), 1.0, 0),  # the judge contradicts itself
        (graded("no", "yes", score=1), 0.5, 1),
        (graded("yes", "yes", score=0.5), 1.0, None),
    ],
)
def test_the_list_decides(reply: str, satisfied: float, official: int | None) -> None:
    verdict = ClBenchJudge().parse(reply, record())
    score = int(satisfied == 1.0)
    assert (verdict.score, verdict.satisfied, verdict.official) == (score, satisfied, official)
    assert not verdict.unreadable
    assert bool(verdict.reason) == (official is not None and official != score)


@pytest.mark.parametrize(
    ("reply", "official"),
    [
        ("", None),
        ("yes", None),
        (f"<think>{BOTH}</think>", None),
        (graded("yes"), 1),
        (graded("yes", "yes", "yes"), 1),
        (graded(), 1),
        (graded("yes", "incorrect, not yes"), 1),
        (graded("yes", "partly", score=0), 0),
        (BOTH[: BOTH.index("]")], None),  # cut off inside the list
        ('{"Overall Score": 1}', 1),
    ],
)
def test_a_list_that_does_not_fit_is_unreadable(reply: str, official: int | None) -> None:
    verdict = ClBenchJudge().parse(reply, record())
    assert (verdict.score, verdict.satisfied, verdict.official) == (0, 0.0, official)
    assert verdict.unreadable


def test_without_rubrics_the_judge_makes_its_own_list() -> None:
    judge, bare = ClBenchJudge(), record(judging={"rubrics": []})
    assert judge.parse(graded("yes", "yes", "yes"), bare).score == 1
    assert judge.parse(graded("yes", "no", "no"), bare).satisfied == pytest.approx(1 / 3)
    assert judge.parse(graded(), bare).unreadable


@given(st.lists(st.sampled_from(["yes", "no"]), min_size=1), st.sampled_from([0, 1]), st.text(), st.booleans())
def test_every_whole_grading_is_read(status: list[str], score: int, rationale: str, indent: bool) -> None:
    reply = json.dumps(json.loads(graded(*status, score=score, rationale=rationale)), indent=2 if indent else None)
    verdict = ClBenchJudge().parse(reply, record(judging={"rubrics": ["r"] * len(status)}))
    assert (verdict.score, verdict.official, verdict.unreadable) == (int("no" not in status), score, False)
    assert verdict.satisfied == status.count("yes") / len(status)


@given(st.text() | st.integers(0, len(BOTH)).map(lambda cut: BOTH[:cut]))
def test_no_reply_breaks_the_parser(reply: str) -> None:
    verdict = ClBenchJudge().parse(reply, record())
    assert verdict.score == int(BOTH[: BOTH.index("]") + 1] in reply)


# ---- many records ----


def judged(
    reply: Callable[[str], Reply], records: list[dict[str, Any]], judge: Any, **options: Any
) -> tuple[list[Judgement], list[str]]:
    """The judgements, and the prompts that were sent for them."""
    with ChatServer(reply) as server:
        endpoint = at(server.url, tries=2, patience=99)
        return judge_records(records, judge, endpoint, **options), server.prompts


def test_one_judgement_per_record_in_order_whatever_happens() -> None:
    def reply(prompt: str) -> Reply:
        number = int(prompt.rpartition("number ")[2].split()[0])
        time.sleep(0.002 * (number % 7))  # so that later ones overtake
        return [OVERLOADED, "yes", "no", "hm, yes"][number % 4]

    records = [record(number, f"number {number}") for number in range(40)] + [record(40, " \n")]
    told: list[Judgement] = []
    found, prompts = judged(reply, records, LongMemEvalJudge(), progress=told.append)
    assert [judgement.id for judgement in found] == [f"q{number}" for number in range(41)]
    assert [judgement.score for judgement in found] == [0, 1, 0, 0] * 10 + [0]
    assert [judgement.failed for judgement in found] == [True, False, False, False] * 10 + [False]
    assert [judgement.unreadable for judgement in found] == [False, False, False, True] * 10 + [False]
    assert [judgement.official for judgement in found] == [None, 1, 0, 1] * 10 + [0]
    assert all("HTTP 500" in judgement.reason for judgement in found[:40:4])
    assert found[40].reason == "empty answer"
    assert sorted(told, key=lambda judgement: int(judgement.id[1:])) == found
    assert len(prompts) == 10 * (2 + 1 + 1 + 1)

    one, two = found[1], found[5]
    assert (one.memory, one.seed, one.reply, one.reason, one.judge_model) == ("tmem", 3, "yes", "", "the-judge")
    assert re.fullmatch("[0-9a-f]{64}", one.prompt_sha256)
    assert one.prompt_sha256 != two.prompt_sha256
    assert json.loads(json.dumps(vars(one)))["satisfied"] == 1.0


def test_calls_are_made_side_by_side() -> None:
    meeting = threading.Barrier(4, timeout=5)  # each reply waits until four have been asked

    def reply(prompt: str) -> Reply:
        meeting.wait()
        return "yes"

    found, _ = judged(reply, [record(number) for number in range(8)], LongMemEvalJudge(), workers=4)
    assert [judgement.score for judgement in found] == [1] * 8


def test_a_grading_that_cannot_be_read_is_asked_for_again() -> None:
    [found], prompts = judged(in_turn("hm", graded("yes"), BOTH), [record()], ClBenchJudge())
    assert (found.score, found.reply, found.unreadable) == (1, BOTH, False)
    assert len(prompts) == 3
    [found], prompts = judged(in_turn("hm"), [record()], ClBenchJudge())
    assert (found.score, found.reply, found.unreadable, found.failed) == (0, "hm", True, False)
    assert len(prompts) == 3
    [found], _ = judged(in_turn("hm", OVERLOADED), [record()], ClBenchJudge())
    assert (found.score, found.unreadable, found.failed) == (0, False, True)


@pytest.mark.parametrize("judge", [LongMemEvalJudge(), ClBenchJudge()])
def test_an_empty_answer_costs_no_call(judge: Any) -> None:
    [found], prompts = judged(in_turn("yes"), [record(prediction="")], judge)
    assert (found.score, found.satisfied, found.official, found.failed) == (0, 0.0, 0, False)
    assert prompts == []


def test_an_interrupt_leaves_the_rest_unasked() -> None:
    def interrupt(_: Judgement) -> None:
        raise KeyboardInterrupt

    records = [record(number) for number in range(200)]
    with ChatServer(in_turn(Raw(completion("yes"), delay=0.02))) as server:
        with pytest.raises(KeyboardInterrupt):
            judge_records(records, LongMemEvalJudge(), at(server.url), interrupt)
        asked = len(server.prompts)
        time.sleep(0.2)
        assert len(server.prompts) <= asked + 8  # only what was on its way


def test_template_hashes_name_the_prompts() -> None:
    judge = LongMemEvalJudge()
    assert template_sha256(judge) == template_sha256(LongMemEvalJudge(max_tokens=99))
    assert template_sha256(judge) != template_sha256(ClBenchJudge())
    judge.templates = dict(reversed(judge.templates.items()))
    assert template_sha256(judge) == template_sha256(LongMemEvalJudge())
    judge.templates = judge.templates | {"general": "?"}
    assert template_sha256(judge) != template_sha256(LongMemEvalJudge())


# ---- calibration ----


def calibrated(judge: Any, reply: Callable[[str], Reply]) -> dict[str, Any]:
    with ChatServer(reply) as server:
        return calibrate(judge, at(server.url, tries=1))


def test_the_cases_cover_every_route_in_equal_parts() -> None:
    for judge, count in ((LongMemEvalJudge(), 24), (ClBenchJudge(), 8)):
        cases = CASES[judge.name]
        assert len({case.id for case in cases}) == len(cases) == count
        assert sum(case.right for case in cases) == count // 2
        for case in cases:
            assert case.prediction in judge.prompt(case.record())
    for right in (True, False):
        ids = [(case.judging["question_type"], "_abs" in case.id) for case in LONGMEMEVAL if case.right is right]
        assert {kind for kind, abstention in ids if not abstention} == set(ROUTES)
        assert sum(abstention for _, abstention in ids) == 2
    assert all({a.right for a in CLBENCH if a.judging is b.judging} == {True, False} for b in CLBENCH)


def test_the_cases_are_judged_by_as_many_calls_at_a_time_as_are_asked_for() -> None:
    going, most = [0], [0]

    def reply(prompt: str) -> Reply:
        going[0] += 1
        most[0] = max(most[0], going[0])
        time.sleep(0.005)
        going[0] -= 1
        return "yes"

    with ChatServer(reply) as server:
        calibrate(LongMemEvalJudge(), at(server.url), workers=1)
    assert most == [1]


def test_a_judge_that_always_agrees_or_never_does() -> None:
    counts = {"n_wrong": 12, "n_right": 12, "unreadable": 0, "failed": 0}
    wrong = [case.id for case in LONGMEMEVAL if not case.right]
    found = calibrated(LongMemEvalJudge(), in_turn("yes"))
    assert found.items() >= (counts | {"false_accept": 1.0, "false_reject": 0.0, "misjudged": wrong}).items()
    assert (found["judge_model"], found["template_sha256"]) == ("the-judge", template_sha256(LongMemEvalJudge()))
    found = calibrated(LongMemEvalJudge(), in_turn("no"))
    assert found.items() >= (counts | {"false_accept": 0.0, "false_reject": 1.0}).items()
    found = calibrated(LongMemEvalJudge(), in_turn("hm"))
    assert found.items() >= (counts | {"false_accept": 0.0, "false_reject": 1.0, "unreadable": 24}).items()
    found = calibrated(ClBenchJudge(), in_turn(OVERLOADED))
    assert (found["n_wrong"], found["n_right"], found["failed"], found["false_reject"]) == (4, 4, 8, 1.0)


def case_of(prompt: str, cases: tuple[Case, ...]) -> Case:
    [case] = [case for case in cases if case.prediction in prompt]
    return case


def test_a_good_judge_passes_and_one_that_looks_for_words_does_not() -> None:
    def good(prompt: str) -> str:
        return "yes" if case_of(prompt, LONGMEMEVAL).right else "no"

    def words(prompt: str) -> str:
        case = case_of(prompt, LONGMEMEVAL)
        return "yes" if case.gold.lower() in case.prediction.lower() else "no"

    def rubrics(prompt: str) -> str:
        case = case_of(prompt, CLBENCH)
        status = ["yes"] * len(case.judging["rubrics"])
        return graded(*status) if case.right else graded(*status[1:], "no", score=0)

    perfect = {"false_accept": 0.0, "false_reject": 0.0, "misjudged": []}
    assert calibrated(LongMemEvalJudge(), good).items() >= perfect.items()
    assert calibrated(ClBenchJudge(), rubrics).items() >= perfect.items()
    found = calibrated(LongMemEvalJudge(), words)
    assert found["false_accept"] > 0.1
    assert found["false_reject"] > 0.8
