"""What an operator sets and sees: limits of keys, metrics, lines of log without contents, a file of options."""

from __future__ import annotations

import inspect
import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import tmem  # noqa: F401
from cli.running import Run
from server.serving import Server

from tmem.cli.common import Weights
from tmem.cli.server import Config, serve
from tmem.errors import UsageError
from tmem.server.metrics import Lines
from tmem.server.rate_limit import Rates

SECRET = "I live in Secretville."


def metrics(server: Server, key: str | None = None) -> dict[str, float]:
    lines = server.ask("GET", "/metrics", key).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_key_may_make_so_many_requests_a_minute(server: Server) -> None:
    slow, other = server.keys.make("slow", "ana", per_minute=2), server.keys.make("other", "ben")
    replies = [server.ask("GET", "/v1/memories", slow) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    error = replies[2].json()["error"]
    assert error["code"] == "rate_limited" and 1 <= int(replies[2].headers["retry-after"]) <= 30
    assert all(server.ask("GET", "/v1/memories", other).status_code == 200 for _ in range(3))


def test_a_bucket_is_refilled_evenly() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.take("a", 60) for _ in range(60)] == [0.0] * 60
    assert rates.take("a", 60) == pytest.approx(1.0) and rates.take("b", 60) == 0.0
    now[0] = 0.5
    assert rates.take("a", 60) == pytest.approx(0.5)
    now[0] = 2.0
    assert [rates.take("a", 60) == 0.0 for _ in range(3)] == [True, True, False]


def test_figures_have_no_content_and_belong_to_who_operates(make: Any) -> None:
    server = make(converses=True)
    assert server.chat("Count for me.", user="ana").status_code == 200
    told = server.ask("POST", "/v1/memories", json={"messages": [{"content": SECRET, "name": "Ana"}], "user_id": "ana"})
    assert told.status_code == 200
    server.ask("GET", f"/v1/memories/{told.json()['pairs'][0]['id']}", headers={"X-Tmem-User": "ana"})
    found = metrics(server)
    assert found['tmem_requests_total{route="/v1/chat/completions",status="200"}'] == 1
    assert found['tmem_requests_total{route="/v1/memories/{pair}",status="200"}'] == 1
    assert found["tmem_first_token_seconds_count"] == 1 and found["tmem_token_gap_seconds_count"] == 4
    assert found['tmem_tokens_total{kind="answered"}'] == 5 and found['tmem_write_seconds_count{kind="add"}'] == 1
    assert found['tmem_wait_seconds_count{pool="talk"}'] == 1 and found['tmem_calls{pool="talk"}'] == 0
    assert found["tmem_states_missed"] >= 0
    text = server.ask("GET", "/metrics").text
    assert "Secretville" not in text and "ana" not in text
    own, everybody = server.keys.make("own", "ana"), server.keys.make("app", None)
    assert server.ask("GET", "/metrics", own).status_code == 403
    assert server.ask("GET", "/metrics").status_code == 401
    assert server.ask("GET", "/metrics", everybody).status_code == 200


def test_lines_of_log_say_what_happened_and_nothing_that_was_said(
    make: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(log_requests=True)
    key = server.keys.make("phone", "ana")
    with caplog.at_level(logging.INFO, "tmem.server"):
        server.chat(SECRET, key)
        server.ask("GET", "/v1/memories/0123", key)
        broken = server.ask("POST", "/v1/ask", key, json={"question": "What breaks?"})
        server.ask("GET", "/v1/memories", "tmem-wrong")
    records = [record for record in caplog.records if record.name == "tmem.server"]
    lines = [json.loads(Lines().format(record)) for record in records]
    assert [(line["event"], line.get("route"), line.get("status"), line.get("key")) for line in lines] == [
        ("request", "/v1/chat/completions", 200, "phone"),
        ("request", "/v1/memories/{pair}", 404, "phone"),
        ("error", None, None, None),
        ("request", "/v1/ask", 500, "phone"),
        ("request", "none", 401, None),
    ]
    assert lines[2]["error"] == "RuntimeError" and any("fakes.py" in place for place in lines[2]["at"])
    assert lines[2]["id"] == lines[3]["id"] == broken.headers["x-request-id"] and lines[2]["id"] in broken.text
    text = json.dumps(lines)
    assert "Secretville" not in text and "secret of the inside" not in text and "0123" not in text and key not in text


def test_a_file_of_options(tmem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The command has the last word, then the environment, then the file."""
    seen: dict[str, Any] = {}

    def listen(host: str, port: int) -> Any:
        seen.update(host=host, port=port)
        raise UsageError("that is all")

    monkeypatch.setattr("tmem.cli.server.listen", listen)
    file = tmp_path / "tmem.toml"
    file.write_text(f'home = "{tmp_path}/home"\nhost = "::1"\nport = 9000\nper_minute = 5\n')
    assert "that is all" in tmem("serve", "--config", file)[2] and seen == {"host": "::1", "port": 9000}
    assert (tmp_path / "home").exists() is False  # a server that does not start makes nothing
    with monkeypatch.context() as environment:
        environment.setenv("TMEM_PORT", "9001")
        tmem("serve", "--config", file, "--host", "localhost")
        assert seen == {"host": "localhost", "port": 9001}
    monkeypatch.setenv("TMEM_CONFIG", str(file))
    tmem("serve")
    assert seen == {"host": "::1", "port": 9000}
    for text, problem in (("prot = 1", "prot: there is no such option"), ("port = 0", "port: "), ("port", "not TOML")):
        file.write_text(text)
        code, _, err = tmem("serve", "--config", file)
        assert code == 2 and problem in err and err.count("\n") == 1
    assert "cannot be read" in tmem("serve", "--config", tmp_path / "nowhere.toml")[2]


def test_a_file_may_give_every_option(tmem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    assert set(Config.model_fields) == set(inspect.signature(serve).parameters) - {"config"}
    seen: list[Any] = []

    def load(model: str, weights: Weights) -> Any:
        seen.extend((model, weights))
        raise UsageError("that is all")

    monkeypatch.setattr("tmem.cli.server.listen", lambda *_: nullcontext())
    monkeypatch.setattr("tmem.cli.server.load_memory_model", load)
    file = tmp_path / "tmem.toml"
    file.write_text(f'home = "{tmp_path}"\nmodel = "persona-nano"\nengine = "llamacpp"\nweights = "bfloat16"\n')
    assert "that is all" in tmem("serve", "--config", file)[2] and seen == ["persona-nano", Weights.bfloat16]
    file.write_text('weights = "int3"')
    code, _, err = tmem("serve", "--config", file)
    assert code == 2 and "weights: " in err and err.count("\n") == 1
