"""A server in this process, on a memory whose model costs nothing. Tests that import this need the extra ``server``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("mcp")
httpx = pytest.importorskip("httpx")

from server.fakes import Actions, open_memory  # noqa: E402

from tmem import Memory  # noqa: E402
from tmem.server.app import make_app  # noqa: E402
from tmem.server.keys import Keys  # noqa: E402


class Server:
    """``app`` with its parts; :meth:`ask` sends one request as whoever has ``key``."""

    def __init__(self, home: Path, converses: bool = False, **options: Any) -> None:
        self.memory: Memory
        self.actions: Actions
        self.memory, self.actions = open_memory(home, converses)
        self.keys = Keys(home)
        self.app = make_app(self.memory, "fake", self.keys, **options)

    def client(self, key: str | None = None, **headers: Any) -> Any:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> Any:
        headers = more.pop("headers", {})

        async def run() -> Any:
            async with self.client(key, **headers) as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    def chat(self, text: str, key: str | None = None, **more: Any) -> Any:
        message = {"role": "user", "content": text, "name": "Ana"}
        return self.ask("POST", "/v1/chat/completions", key, json={"model": "fake", "messages": [message], **more})

    def close(self) -> None:
        self.actions.free.set()
        self.actions.slow.set()
        for pool in (self.app.state.served.talk, self.app.state.served.work, self.app.state.served.look):
            pool.close()
        self.memory.close()
