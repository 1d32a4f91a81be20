"""A chat endpoint on a real socket whose replies are scripted, and which remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Raw:
    """A response that is not simply a chat completion. ``delay``: seconds until it comes."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


HANG_UP = Raw(status=0)  # the connection is closed without a response
Reply = str | Raw


def completion(text: Any) -> str:
    """The body of a chat completion."""
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})


def in_turn(*replies: Reply) -> Callable[[str], Reply]:
    """A script of one reply after the other; the last one is repeated."""
    left, lock = list(replies), threading.Lock()

    def reply(prompt: str) -> Reply:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return reply


class ChatServer:
    """Within ``with``: serves ``url``. ``reply(prompt)`` is a text or Raw; ``requests`` are path, headers and body."""

    def __init__(self, reply: Callable[[str], Reply]) -> None:
        self.reply = reply
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.closing = threading.Event()

    def __enter__(self) -> ChatServer:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for _, _, body in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is no news."""


def _handler(chat: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as servers do
        wbufsize = -1  # headers and body in one packet

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.requests.append((self.path, dict(self.headers), body))
            reply = chat.reply(body["messages"][0]["content"])
            raw = reply if isinstance(reply, Raw) else Raw(completion(reply))
            chat.closing.wait(raw.delay)
            if raw.status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = raw.body.encode()
            self.send_response(raw.status)
            for name, value in {"Content-Length": str(len(data)), **raw.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
