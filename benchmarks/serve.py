"""A server under load: many users at once against one after the other, and a write while others chat.

    python benchmarks/serve.py --model persona-nano       # a few minutes on one core; --model smollm2-untaught

The server is ``tmem serve`` as a process of its own, reached over HTTP; one after the other is the library itself, in
this process, on a copy of the same home. Answers are compared: what is not the same is counted. While others write, a
model that can be talked to chats, and what is measured is the time between two tokens; any other answers questions,
and it is the time of an answer. Seconds of processors (of the library's and of the server's process) are given beside
those of the clock: they say the same on a busy machine. Prints a table and writes ``out/serve.json``. Needs the extra
``server``, and Linux for the processors' seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

Spent = tuple[float, float]  # seconds by the clock, and of the processors
QUESTION, PLACES = "What is {}'s city?", ("Lyon", "Oslo", "Kyoto", "Turin", "Bern", "Porto", "Delhi", "Quito")
NAMES = ("Ana", "Ben", "Maria", "Otto", "Ines", "Karl", "Lena", "Paul", "Rosa", "Sven", "Tara", "Uwe", "Vera", "Wim",
         "Yara", "Zoe")  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def ready(client: httpx.AsyncClient, route: str, alive: Callable[[], bool], failed: str) -> None:
    """Wait until a route of a server says 200; ends with ``failed`` if its process has ended."""
    while True:
        try:
            if (await client.get(route)).status_code == 200:
                return
        except httpx.TransportError:
            if not alive():
                raise SystemExit(failed) from None
        await asyncio.sleep(0.2)


@asynccontextmanager
async def served(model: str, home: Path, *more: str) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """A server on a home, with its process' number; stopped at the end."""
    port = free_port()
    command = [sys.executable, "-m", "tmem", "serve", "-m", model, "--home", str(home), "--port", str(port), *more]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    limits = httpx.Limits(max_connections=256)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, limits=limits) as client:
            failed = "serve.py: the server did not start: run its command by hand"
            await ready(client, "/readyz", lambda: process.poll() is None, failed)
            yield client, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def speak(client: httpx.AsyncClient, model: str, user: str, text: str, most: int) -> dict[str, Any]:
    """One streamed answer: its text, the seconds to its first token, and those between tokens."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": most}
    began, times, said = time.perf_counter(), list[float](), ""
    async with client.stream("POST", "/v1/chat/completions", json=body | {"user": user}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    raise SystemExit(f"serve.py: {event['error']['message']}")
                for choice in event["choices"]:
                    if choice["delta"].get("content"):
                        times.append(time.perf_counter())
                        said += choice["delta"]["content"]
    return {"text": said, "first": times[0] - began if times else None, "gaps": np.diff(times).tolist()}


def computed(process: int) -> float:
    """Seconds that the processors have worked for a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_after_the_other(model: Any, home: Path, asked: Sequence[tuple[str, str]]) -> tuple[list[str], Spent]:
    """The same through the library."""
    from tmem import Memory

    with Memory(model, home) as memory:
        memory.warm()
        began, worked = time.perf_counter(), computed(os.getpid())
        said = [memory.ask(text, user_id=user).text for user, text in asked]
        return said, (time.perf_counter() - began, computed(os.getpid()) - worked)


async def questions(client: httpx.AsyncClient, asked: Sequence[tuple[str, str]], together: bool) -> Any:
    """Questions to memories over HTTP, all at once or one after the other."""

    async def one(user: str, text: str) -> str:
        reply = await client.post("/v1/ask", json={"question": text}, headers={"X-Tmem-User": user})
        reply.raise_for_status()
        return str(reply.json()["text"])

    began = time.perf_counter()
    said = await asyncio.gather(*[one(*own) for own in asked]) if together else [await one(*own) for own in asked]
    return list(said), time.perf_counter() - began


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    return {f"p{part}": round(1000 * float(np.percentile(values, part)), 1) for part in (50, 90, 99)} if values else {}


async def beside(client: httpx.AsyncClient, options: Any, talks: bool, write: bool) -> dict[str, Any]:
    """15 users talk for ``seconds``; ``write``: others tell something all the while, one after the other."""
    ends, waits, writes = time.perf_counter() + options.seconds, list[float](), list[float]()

    async def talk(user: str) -> None:
        while time.perf_counter() < ends:
            if talks:
                text = f"Tell {user} a long story about the sea."
                waits.extend((await speak(client, options.model, user, text, options.tokens))["gaps"])
            else:
                waits.append((await questions(client, [(user, QUESTION.format(user))], together=True))[1])

    async def tell() -> None:
        while time.perf_counter() < ends:
            began = time.perf_counter()
            pair = {"question": f"What is the number {len(writes)}?", "answer": f"n{len(writes)}"}
            body = {"pairs": [pair], "user_id": f"writer{len(writes)}"}
            (await client.post("/v1/memories", json=body)).raise_for_status()
            writes.append(time.perf_counter() - began)

    await asyncio.gather(*[talk(name) for name in NAMES[:15]], *([tell()] if write else []))
    return {"waits": percentiles(waits), "count": len(waits), "writes": percentiles(writes), "written": len(writes)}


async def main(options: Any) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="tmem-serve-"))
    found: dict[str, Any] = {"model": options.model, "cores": len(os.sched_getaffinity(0))}
    try:
        from tmem import Memory
        from tmem.agent.prompts import PROMPTS
        from tmem.model import load

        model = load(options.model)
        with Memory(model, folder / "home") as memory:
            for place, name in enumerate(NAMES):
                memory.add(pairs=[(QUESTION.format(name), PLACES[place % len(PLACES)])], user_id=name)
        asked = [(name, QUESTION.format(name)) for name in NAMES] * options.rounds
        shutil.copytree(folder / "home", folder / "copy")
        told, alone = one_after_the_other(model, folder / "copy", asked)
        async with served(options.model, folder / "home", "--each", "64", "--waiting", "512") as (client, process):
            await questions(client, asked[:16], together=True)  # weights of all are read
            found["answers"] = {"count": len(asked), "library": alone}
            texts = []
            for name, together in (("http", False), ("together", True)):
                worked = computed(process)
                said, seconds = await questions(client, asked, together)
                texts.append(said)
                found["answers"][name] = (seconds, computed(process) - worked)
            over, said = texts
            found["different"] = sum(a != b or a != c for a, b, c in zip(told, over, said, strict=True))
            found["talks"] = PROMPTS[model.settings.prompts].converses
            parts = {"without": False, "with writes": True, "without again": False}
            found["beside"] = {
                name: await beside(client, options, found["talks"], write) for name, write in parts.items()
            }
    finally:
        shutil.rmtree(folder)
    return found


def show(found: dict[str, Any]) -> None:
    answers = found["answers"]
    print(f"{found['model']}, {found['cores']} cores; {answers['count']} questions of 16 users, {found['different']} "
          "answered otherwise than by the library")  # fmt: skip
    for name in ("library", "http", "together"):
        (seconds, worked), (_, library) = answers[name], answers["library"]
        each = 1000 * worked / answers["count"]
        share = worked / library
        print(f"{name:>10}  {seconds:7.2f} s  {each:6.1f} ms of a processor an answer, {share:.2f} of the library's")
    what = "between tokens" if found["talks"] else "for an answer"
    for name, own in found["beside"].items():
        print(f"{name:>14}: {what} {own['waits']} ms ({own['count']}); {own['written']} writes {own['writes']} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--rounds", type=int, default=8, help="how often each of 16 users asks")
    parser.add_argument("--seconds", type=float, default=30, help="of each part with 15 chats")
    parser.add_argument("--tokens", type=int, default=120, help="most of an answer")
    chosen = parser.parse_args()
    result = asyncio.run(main(chosen))
    show(result)
    Path("out").mkdir(exist_ok=True)
    Path("out/serve.json").write_text(json.dumps(result, indent=2))
