"""Two servers on one ledger in Postgres, one of them killed every minute: nothing told is lost, no answer is old.

    python benchmarks/shared_ledger.py --adds 10000 --users 200 --every 60 --ledger
    python benchmarks/shared_ledger.py --adds 400

Each add tells one of a user's five questions another answer, over HTTP at one of the servers by chance. One that is not
answered is given to the other server again. After one add in ten its question is asked at the other server: it has to
give what was acknowledged last, and an earlier answer is an old one. In the end every user's ledger has to have what
was acknowledged last, each question once, and be sound. Servers are forked from one process that has the model, whose
writes are of few steps (where the weights do not give an answer its text does); Postgres is a server of its own
(tests/store/cluster.py). A line for each kill; exit status 1 if anything was lost or old.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import httpx
import torch
from serve_kill import quick, serve_memory
from server.fakes import PairsTrainer, open_memory
from store.cluster import Cluster

from tmem import Memory
from tmem.seeds import derive
from tmem.store.ledger.history import Step
from tmem.store.weights.states import Tensors, Trained

QUESTIONS = [f"What is Ana's {thing}?" for thing in ("vehicle", "job", "pet", "sport", "hobby")]
AT_ONCE = 8  # requests
ASKED = 0.1  # of the adds


class Nothing(PairsTrainer):
    """Weights that are a digest of the pairs that hold."""

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        told = [(pair.question, pair.answer) for pair in (*step.old, *step.new)]
        value = hashlib.sha256(repr(told).encode()).digest()
        return Trained({"b": torch.tensor([list(value)], dtype=torch.float32)}, {"pairs": len(step.new)})


def open_fake(home: Path) -> Memory:
    return open_memory(home, trainer=Nothing())[0]


class Load:
    """Users that tell and ask; ``last``: what was acknowledged last, by user and question."""

    def __init__(self, ports: list[int], options: argparse.Namespace) -> None:
        self.draw, self.users, self.left = random.Random(derive("shared", options.seed)), options.users, options.adds
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.last: dict[tuple[int, str], str] = {}
        self.before: dict[tuple[int, str], set[str]] = {}
        self.counts, self.wrong, self.slowest = Counter[str](), list[str](), 0.0
        self.busy: set[int] = set()

    async def run(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)  # a killed server's connections are of no use
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            await asyncio.gather(*(self.life(client) for _ in range(AT_ONCE)))

    async def life(self, client: httpx.AsyncClient) -> None:
        while self.left > 0:
            self.left -= 1
            user = self.draw.choice([one for one in range(self.users) if one not in self.busy])
            self.busy.add(user)
            question, server = self.draw.choice(QUESTIONS), self.draw.randrange(2)
            answer = f"w{user}x{self.left}"
            body = {"pairs": [{"question": question, "answer": answer}], "wait": False}
            began = time.perf_counter()
            await self.until_answered(client, server, "/v1/memories", user, body)
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.counts["adds"] += 1
            key = (user, question)
            if key in self.last:
                self.before.setdefault(key, set()).add(self.last[key])
            self.last[key] = answer
            if self.draw.random() < ASKED:
                found = await self.until_answered(client, 1 - server, "/v1/ask", user, {"question": question})
                self.counts["asks"] += 1
                if found["text"] != answer:
                    old = found["text"] in self.before.get(key, set())
                    self.wrong.append(
                        f"u{user}: {question} {found['text']!r} ({'old' if old else 'other'}), not {answer}"
                    )
            self.busy.discard(user)

    async def until_answered(
        self, client: httpx.AsyncClient, server: int, path: str, user: int, body: dict[str, Any]
    ) -> Any:
        while True:
            try:
                reply = await client.post(self.urls[server] + path, json=body, headers={"X-Tmem-User": f"u{user}"})
                if reply.status_code not in (429, 503):
                    reply.raise_for_status()
                    return reply.json()
            except httpx.TransportError:
                self.counts["not answered"] += 1
                server = 1 - server
            await asyncio.sleep(0.1)


def clients(ports: list[int], options: argparse.Namespace, result: Path) -> int:
    """All requests, in a process of their own; its number."""
    child = os.fork()
    if child:
        return child
    try:
        load = Load(ports, options)
        asyncio.run(load.run())
        last = [[user, question, answer] for (user, question), answer in load.last.items()]
        found = {"last": last, "counts": load.counts, "wrong": load.wrong, "slowest": load.slowest}
        result.write_text(json.dumps(found))
        os._exit(0)
    finally:
        os._exit(1)


def in_ledger(make: Callable[[], Memory], last: list[list[Any]]) -> list[str]:
    """What is wrong with the ledger in the end."""
    wrong = list[str]()
    with make() as memory:
        while any(reason is None for _, reason in memory.absorb_all()):
            pass
        for user, question, answer in last:
            rows = memory.get_all(user_id=f"u{user}")
            held = [row["answer"] for row in rows if row["question"] == question]
            if held != [answer]:
                wrong.append(f"u{user}: {question} is {held} in the ledger, not {answer}")
        wrong += [f"{one.scope}: {one.problem}" for one in memory.doctor()]
        for user, _, _ in last[:10]:
            memory.verify(deep=True, user_id=f"u{user}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adds", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--ledger", action="store_true", help="with a model that costs nothing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, cluster = Path(tempfile.mkdtemp(prefix="tmem-shared-")), Cluster()
    home, began, kills = folder / "home", time.perf_counter(), 0
    home.mkdir()
    (home / "tmem.db").write_text(f"{cluster.database()}\n")
    try:
        make = partial(open_fake, home) if options.ledger else partial(Memory, quick(folder), home, side_by_side=True)
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        servers = [serve_memory(make, home, one) for one in listening]
        load = clients([one.getsockname()[1] for one in listening], options, folder / "result")
        while True:
            until = time.monotonic() + options.every
            ended, status = 0, 0
            while not ended and time.monotonic() < until:
                time.sleep(0.2)
                ended, status = os.waitpid(load, os.WNOHANG)
            if ended:
                break
            place = kills % 2
            os.kill(servers[place], signal.SIGKILL)
            os.waitpid(servers[place], 0)
            servers[place] = serve_memory(make, home, listening[place])
            kills += 1
            [(told,)] = cluster.sql("SELECT count(*) FROM pairs", database="d1")
            print(f"{time.perf_counter() - began:.0f} s: {kills} kills, {told} pairs", flush=True)
        for server in servers:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        if status:
            print("the clients failed")
            return 1
        found = json.loads((folder / "result").read_text())
        wrong = found["wrong"] + in_ledger(make, found["last"])
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(found["counts"].items()))
    print(f"{kills} kills; {counts}; the slowest add {found['slowest']:.0f} s; {len(wrong)} wrong")
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
