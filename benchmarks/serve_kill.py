"""A server that is killed (SIGKILL) again and again under load: nothing that it acknowledged is lost or comes back.

    python benchmarks/serve_kill.py --moments 200

Six users tell, ask and forget over HTTP as fast as they are answered. After a random number of answers, and a moment
more, the server is killed; the next one opens the same home. After each: every pair of an add that was answered is
there unless it was told to be forgotten, and no pair of a forgetting that was answered is. At every 50th and at the
end also: no file of the home has a word of what was forgotten, and the ledger and the weights agree. Servers are
forked from one process that has the model, so that a start costs no loading.
Needs the extra ``server``; one line for each ten moments, and exit status 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tmem import Memory
from tmem.cli.server import KEEP_ALIVE
from tmem.model import Model, load
from tmem.seeds import derive
from tmem.server import heap
from tmem.server.app import make_app
from tmem.server.keys import Keys
from tmem.server.metrics import write_lines

ANSWERS, MOMENT = 12, 0.3  # the most answers that a server gives, and seconds that it lives after the last of them


@dataclass
class User:
    """What was acknowledged to one user, and what nobody can say: requests that were never answered."""

    name: str
    holds: dict[str, str] = field(default_factory=dict)  # id: answer
    forgotten: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)  # ids whose forgetting was not answered
    told: int = 0


def quick(folder: Path) -> Model:
    """persona-nano, warm, with writes of few steps: how well one teaches is nothing to what is tried here."""
    heap.keep_together()
    model, fresh = load("persona-nano"), {"steps": 8, "steps_per_pair": 0, "held": 0}
    settings = model.settings.model_copy(update={"recipes": {"tmem": {"lr": 0.005, "fresh": fresh}}})
    model = Model(model.name, model.directory, model.hf, model.tokenizer, settings)
    with Memory(model, folder / "warm") as memory:
        memory.warm()
    return model


def serve(model: Model, home: Path, listening: socket.socket) -> int:
    """A server in a process of its own; its number."""
    return serve_memory(partial(Memory, model, home, side_by_side=True), home, listening)


def serve_memory(make: Callable[[], Memory], home: Path, listening: socket.socket) -> int:
    """The same of a memory that is made there."""
    child = os.fork()
    if child:
        return child
    write_lines()
    try:
        app = make_app(make(), "persona-nano", Keys(home), each=64)
        settings: Any = {"log_level": "error", "access_log": False, "timeout_keep_alive": KEEP_ALIVE}
        uvicorn.Server(uvicorn.Config(app, **settings)).run([listening])
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(1)


async def life(client: httpx.AsyncClient, user: User, draw: random.Random, counts: Counter[str]) -> None:
    """One user's requests, one after the other, until the server is gone."""
    headers = {"X-Tmem-User": user.name}
    while True:
        what, known = draw.random(), list(user.holds)
        if what < 0.5 or not known:
            user.told += 1
            answer = f"canary{user.name}x{user.told}"
            body = {
                "pairs": [{"question": f"What is thing {user.told}?", "answer": answer}],
                "wait": draw.random() < 0.5,
            }
            reply = await client.post("/v1/memories", json=body, headers=headers)
            reply.raise_for_status()
            user.holds |= {pair["id"]: pair["answer"] for pair in reply.json()["pairs"]}
            counts["adds"] += 1
        elif what < 0.75:
            reply = await client.post("/v1/ask", json={"question": "What is thing 1?"}, headers=headers)
            reply.raise_for_status()
            counts["asks"] += 1
        else:
            pair = draw.choice(known)
            user.doubtful.add(pair)
            answer = user.holds.pop(pair)
            reply = await client.delete(f"/v1/memories/{pair}", headers=headers)
            if reply.status_code != 404:
                reply.raise_for_status()
            user.doubtful.discard(pair)
            user.forgotten[pair] = answer
            counts["forgets"] += 1


async def moment(port: int, users: list[User], child: int, draw: random.Random, counts: Counter[str]) -> None:
    """Load until the server is killed."""
    enough = counts.total() + draw.randint(1, ANSWERS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        lives = [asyncio.create_task(life(client, user, random.Random(draw.random()), counts)) for user in users]
        while counts.total() < enough:
            await asyncio.sleep(0.005)
        await asyncio.sleep(MOMENT * draw.random())
        os.kill(child, signal.SIGKILL)
        for ended in await asyncio.gather(*lives, return_exceptions=True):
            if not isinstance(ended, httpx.TransportError):
                raise ended


def check(model: Model, home: Path, users: list[User], deep: bool) -> list[str]:
    """What is wrong with the home after a kill."""
    wrong = []
    with Memory(model, home) as memory:
        for user in users:
            rows = {row["id"]: row for row in memory.get_all(status=None, user_id=user.name)}
            there = {pair for pair, row in rows.items() if row["status"] in ("active", "pending")}
            wrong += [f"{user.name}: {pair} was acknowledged and is lost" for pair in user.holds if pair not in there]
            wrong += [f"{user.name}: {pair} was forgotten and is back" for pair in user.forgotten if pair in there]
            for pair in list(user.doubtful):
                (user.holds if pair in there else user.forgotten)[pair] = rows[pair]["answer"] if pair in there else ""
            user.doubtful.clear()
            if deep and user.holds:
                memory.absorb(user_id=user.name)
                memory.verify(deep=True, user_id=user.name)
        if deep:
            wrong += [f"{one.scope}: {one.problem}" for one in memory.doctor()]
    if deep:
        said = [answer.encode() for user in users for answer in user.forgotten.values() if answer]
        for file in (file for file in home.rglob("*") if file.is_file()):
            kept = file.read_bytes()
            wrong += [f"{file.name} still has {answer.decode()}" for answer in said if _whole(kept, answer)]
    return wrong


def _whole(text: bytes, word: bytes) -> bool:
    """Whether a word is there that does not go on as another: canaryax1, not canaryax12."""
    at = text.find(word)
    while at >= 0:
        if not text[at + len(word) : at + len(word) + 1].isdigit():
            return True
        at = text.find(word, at + 1)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tmem-kill-"))
    home, began, counts = folder / "home", time.perf_counter(), Counter[str]()
    model, draw = quick(folder), random.Random(derive("kill", options.seed))
    users, wrong = [User(name) for name in "abcdef"], list[str]()
    try:
        for number in range(1, options.moments + 1):
            with socket.create_server(("127.0.0.1", 0)) as listening:
                port, child = listening.getsockname()[1], serve(model, home, listening)
            asyncio.run(moment(port, users, child, draw, counts))
            os.waitpid(child, 0)
            last = number == options.moments
            wrong += check(model, home, users, deep=last or number % 50 == 0)
            if number % 10 == 0 or last or wrong:
                told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
                seconds = time.perf_counter() - began
                print(f"{number} kills in {seconds:.0f} s; acknowledged: {told}; {len(wrong)} wrong", flush=True)
            if wrong:
                break
    finally:
        shutil.rmtree(folder)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
