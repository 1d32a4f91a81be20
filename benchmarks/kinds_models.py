"""What rows of kinds.py about judges and training need: a server of judgements, a reward's source."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kinds_places import tmem
from kinds_rows import Got, refused

from tmem.evaluation.judging.endpoint import Endpoint, EndpointError


@contextmanager
def server(contents: Iterator[Any]) -> Iterator[str]:
    """A chat model that takes neither max_tokens nor temperature, and gives one of the contents after another."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bad = next((name for name in ("max_tokens", "temperature") if name in body), None)
            reply: Any = {"error": f"Unsupported parameter: {bad}"}
            if bad is None:
                reply = {"choices": [{"message": {"role": "assistant", "content": next(contents)}}]}
            data = json.dumps(reply).encode()
            self.send_response(200 if bad is None else 400)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}/v1"
    finally:
        serving.shutdown()
        serving.server_close()


def judges() -> Got:
    """What an endpoint makes of such a server, of replies in parts and without text, and of a proxy."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    slept = list[float]()
    parts = [{"type": "text", "text": "ye"}, {"type": "text", "text": "s"}]
    with server(iter(["yes", parts, None])) as url:
        endpoint = Endpoint(url, "judge", sleep=slept.append)
        odd = endpoint.check(10, 0.0)
        read = endpoint.ask("?", 10, 0.0)
        try:
            without = endpoint.ask("?", 10, 0.0)
        except EndpointError as error:
            without = str(error)
        endpoint.close()
    os.environ["ALL_PROXY"] = "gopher://127.0.0.1:1"  # as one that a package is missing for
    try:
        line, ok = refused(lambda: Endpoint("http://judge.example/v1", "judge"))
    finally:
        del os.environ["ALL_PROXY"]
    well = (
        not odd
        and endpoint.refused == {"max_tokens", "temperature"}
        and read == "yes"
        and "without text" in without
        and not slept
    )
    return f"asked without {sorted(endpoint.refused)}, read {read!r}; {without}; {line}", bool(ok) and well


def train(folder: Path, body: str, steps: int = 1) -> tuple[int, str]:
    """``tmem train rl`` for a reward with this source: its code, and what it says."""
    folder.mkdir(exist_ok=True)
    (folder / "own_reward.py").write_text(body)
    small = ("--facts", "1", "--tasks", "1", "--group", "2", "--held-out", "0")
    short = ("--set", "fresh.steps=2", "--save-every", "1", "--steps", str(steps))
    where = ("--out", str(folder / "rl"), "--reward", "own_reward:f")
    done = tmem("train", "rl", *small, *short, *where, folder=folder, PYTHONDONTWRITEBYTECODE="1")
    return done.returncode, done.stderr
