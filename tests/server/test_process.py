"""The server as its users start it: a process on a real port, with the smallest embedded model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tmem.server.keys import Keys

pytest.importorskip("fastapi")
pytest.importorskip("mcp")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")


@pytest.mark.skipif(os.name != "posix", reason="it is stopped by a signal")
def test_it_learns_answers_forgets_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = Keys(home).make("ana", "ana")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tmem", "serve", "-m", "persona-nano", "--home", home, "--port", str(port)]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=240) as client:
            _ready(client, process)

            def chat(text: str, **more: Any) -> Any:
                message = {"role": "user", "content": text, "name": "Maria"}
                body = {"model": "persona-nano", "messages": [message], **more}
                reply = client.post("/v1/chat/completions", json=body)
                assert reply.status_code == 200, reply.text
                return reply.json()

            [pair] = chat("I bought a camper to get around.", memory={"learn": True})["tmem"]["learned"]
            asked = chat("How does Maria get around?")
            assert asked["choices"][0]["message"]["content"] == "camper"
            assert asked["usage"]["prompt_tokens"] > 0 and asked["usage"]["completion_tokens"] > 0
            with client.stream(
                "POST",
                "/v1/chat/completions",
                json={
                    "model": "persona-nano",
                    "messages": [{"role": "user", "content": "How does Maria get around?"}],
                    "stream": True,
                },
            ) as stream:
                lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
            assert lines[-1] == "data: [DONE]" and any('"content":"camper"' in line for line in lines)
            assert client.delete(f"/v1/memories/{pair['id']}").json()["kind"] == "forget"
            assert client.get("/v1/memories").json() == {"results": []}
            assert "server" not in client.get("/healthz").headers
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    log.seek(0)
    said = log.read()
    assert code in (0, -signal.SIGTERM) and "Traceback" not in said and "camper" not in said and key not in said


def _ready(client: Any, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None
        try:
            assert client.get("/readyz").json() == {"status": "ready"}
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("it does not answer")
