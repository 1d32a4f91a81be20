"""A server under load for as long as it takes to see what grows: 200 connections of 64 users who add, ask and forget.

    python benchmarks/serve_load.py --minutes 10

First every user tells all of their things: from then on the weights of 64 users, as many as a server keeps, are in
memory, and what is told later takes the place of what there is. Then every connection is one user's, and sends one
request after the other. Each user tells words that nobody else has ("canaries"). What is looked for: a 5xx; a word of
another user's, or one that was forgotten, anywhere in a reply; memory (RSS) of the server that grows after the first
fifth; and, at the end, an answer that the library, asked on the same home and version, gives otherwise (of answers
after the last forgetting of their user: without what was forgotten a version is another). 429 is what a client has to
expect: it comes again after the time that it is told.

The server is forked from this process with the model, and its writes take few steps, as in ``serve_kill.py``: what an
answer has to be is what the library gives, however well it was taught. Needs the extra ``server`` and Linux; prints a
line for each tenth, then what was found, and exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from tmem import Memory
from tmem.seeds import derive
from tmem.server import heap

if TYPE_CHECKING:
    from tmem.model import Model

CANARY = re.compile(r"canary([a-z]+)x(\d+)")
THINGS = 6  # that each user tells of, again and again


@dataclass
class User:
    """What is known of one user."""

    name: str
    holds: dict[str, str] = field(default_factory=dict)  # id: canary
    told: int = 0
    epoch: int = 0  # how many forgettings were begun
    forgetting: int = 0  # how many of them go on
    gone: set[str] = field(default_factory=set)  # canaries whose forgetting was acknowledged


@dataclass
class Found:
    """What was seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    answers: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)  # user, version, question
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB


def name_of(number: int) -> str:
    return "abcdefgh"[number // 8] + "stuvwxyz"[number % 8]


class Connection:
    """One connection: a user's requests, one after the other, until the time is over."""

    def __init__(self, client: httpx.AsyncClient, user: User, found: Found, draw: random.Random) -> None:
        self.client, self.user, self.found, self.draw = client, user, found, draw

    async def begin(self) -> None:
        """Tell all things at once, and ask for one of them."""
        await self.add(THINGS, wait=True)
        await self.ask()

    async def live(self, ends: float) -> None:
        while time.monotonic() < ends:
            what, known = self.draw.random(), list(self.user.holds)
            if what < 0.15:
                await self.add(1, wait=self.draw.random() < 0.3)
            elif what < 0.2 and known:
                await self.forget(self.draw.choice(known))
            elif what < 0.3:
                await self.call("list", "GET", "/v1/memories")
            elif what < 0.35:
                await self.call("search", "POST", "/v1/search", {"query": "thing"})
            else:
                await self.ask()

    async def call(self, kind: str, method: str, path: str, body: Any = None) -> Any:
        """A reply with status 200, None for any other; sent again for as long as it is 429."""
        headers = {"X-Tmem-User": self.user.name}
        gone = set(self.user.gone)
        while True:
            began = time.monotonic()
            try:
                reply = await self.client.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                await asyncio.sleep(1)
                self.found.wrong.append(
                    f"{method} {path.partition('?')[0][:12]}: {type(error).__name__} {error.__cause__!r}"
                )
                return None
            self.found.statuses[reply.status_code] += 1
            self.look(reply, gone, f"{method} {path}")
            if reply.status_code != 429:
                break
            await asyncio.sleep(float(reply.headers["Retry-After"]) * (0.5 + self.draw.random()))
        self.found.kinds[kind] += 1
        self.found.seconds.setdefault(kind, []).append(time.monotonic() - began)
        return reply.json() if reply.status_code == 200 else None

    def look(self, reply: httpx.Response, gone: set[str], asked: str) -> None:
        if reply.status_code >= 500:
            self.found.wrong.append(f"{asked}: {reply.status_code}")
        for owner, number in CANARY.findall(reply.text + str(reply.headers)):
            if owner != self.user.name:
                self.found.wrong.append(f"{asked} of {self.user.name}: a word of {owner}'s")
            elif f"canary{owner}x{number}" in gone:
                self.found.wrong.append(f"{asked} of {self.user.name}: a word that was forgotten")

    async def add(self, count: int, wait: bool) -> None:
        user, pairs = self.user, []
        for _ in range(count):
            user.told += 1
            question = f"What is thing {user.told % THINGS} of {user.name}?"
            pairs.append({"question": question, "answer": f"canary{user.name}x{user.told}"})
        told = await self.call("add", "POST", "/v1/memories", {"pairs": pairs, "wait": wait})
        user.holds |= {row["id"]: row["answer"] for row in told["pairs"]} if told else {}

    async def forget(self, pair: str) -> None:
        canary = self.user.holds.pop(pair, None)
        self.user.epoch += 1
        self.user.forgetting += 1
        if await self.call("forget", "DELETE", f"/v1/memories/{pair}") is not None and canary is not None:
            self.user.gone.add(canary)
        self.user.forgetting -= 1

    async def ask(self) -> None:
        user, began, quiet = self.user, self.user.epoch, not self.user.forgetting
        question = f"What is thing {self.draw.randrange(THINGS)} of {user.name}?"
        said = await self.call("ask", "POST", "/v1/ask", {"question": question})
        if said and said["version"] is not None and quiet and began == user.epoch:
            known = self.found.answers.get((user.name, said["version"], question), ("", -1))
            self.found.answers[user.name, said["version"], question] = said["text"], began
            if known[1] == began and known[0] != said["text"]:
                self.found.wrong.append(
                    f"{question} in {said['version']}: {known[0]!r}, then {said['text']!r} ({said['source']})"
                )


def resident(process: int) -> float:
    """MiB of a process in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def load(port: int, process: int, users: list[User], found: Found, options: Any) -> None:
    # Where all of them wait for a processor, a connection that is taken up again could be closed as idle meanwhile.
    most = {"max_connections": options.connections, "max_keepalive_connections": options.connections}
    limits = httpx.Limits(**most, keepalive_expiry=60)  # the server's own is longer
    base = f"http://127.0.0.1:{port}"

    async def watch() -> None:
        while time.monotonic() < began + seconds:
            await asyncio.sleep(seconds / 100)
            found.memory.append((time.monotonic() - began, resident(process)))
            if len(found.memory) % 10 == 0:
                done = f"{len(found.memory)} %: {sum(found.statuses.values())} requests, {resident(process):.0f} MiB"
                print(f"{done}, {len(found.wrong)} wrong", flush=True)

    async with httpx.AsyncClient(base_url=base, timeout=3600, limits=limits) as client:
        own = [
            Connection(client, users[place % len(users)], found, random.Random(derive("load", options.seed, place)))
            for place in range(options.connections)
        ]
        await asyncio.gather(*(one.begin() for one in own[: len(users)]))
        print(f"all have told: {resident(process):.0f} MiB", flush=True)
        began, seconds = time.monotonic(), 60 * options.minutes
        lives = [asyncio.create_task(one.live(began + seconds)) for one in own]
        await watch()
        for life in lives:  # what is in the queue by then may take as long again
            life.cancel()
        for ended in await asyncio.gather(*lives, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


def compared(model: Model, home: Path, users: list[User], found: Found, most: int) -> tuple[int, int]:
    """How many answers the library was asked again, and how many it gives otherwise."""
    epochs = {user.name: user.epoch for user in users}
    asked = [key for key, (_, epoch) in found.answers.items() if epochs[key[0]] == epoch]
    random.Random(0).shuffle(asked)
    other = 0
    with Memory(model, home) as memory:
        for user, version, question in asked[:most]:
            text = found.answers[user, version, question][0]
            again = memory.ask(question, version=version, user_id=user)
            if again.text != text:
                other += 1
                print(f"{question} in {version}: {text!r}, by the library {again.text!r} ({again.source})")
    return len(asked[:most]), other


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--users", type=int, default=64)
    parser.add_argument("--compare", type=int, default=1000, help="answers that the library is asked again, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    heap.keep_together()  # as `tmem serve` does, before torch is there
    from serve_kill import quick, serve

    folder = Path(tempfile.mkdtemp(prefix="tmem-load-"))
    users, found = [User(name_of(number)) for number in range(options.users)], Found()
    model = quick(folder)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port, process = listening.getsockname()[1], serve(model, folder / "home", listening)
    try:
        try:
            asyncio.run(load(port, process, users, found, options))
        finally:
            there = os.waitpid(process, os.WNOHANG) == (0, 0)
            if there:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        if not there:
            found.wrong.append("the server has ended by itself")
        same = compared(model, folder / "home", users, found, options.compare)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for kind, times in sorted(found.seconds.items()):
        median, last = np.percentile(times, (50, 99))
        print(f"{kind}: {found.kinds[kind]}, median {median:.2f} s, 99th percentile {last:.2f} s")
    warm = [size for at, size in found.memory if at >= 12 * options.minutes]
    early, late = float(np.mean(warm[: len(warm) // 4])), float(np.mean(warm[-len(warm) // 4 :]))
    print(f"statuses {dict(sorted(found.statuses.items()))}; memory {early:.0f} MiB, then {late:.0f} MiB")
    print(f"{same[0]} answers asked of the library again, {same[1]} otherwise; {len(found.wrong)} wrong")
    print("\n".join(sorted(set(found.wrong))[:20]))
    return int(bool(found.wrong or same[1] or late > 1.02 * early))


if __name__ == "__main__":
    sys.exit(main())
