"""Writers that share what waits: how much sooner several are done, and what kill -9 does to them.

    python benchmarks/writers.py --scopes 64 --processes 1,2,4              # SQLite
    python benchmarks/writers.py --scopes 64 --processes 1,2,4 --postgres   # on a server of its own
    python benchmarks/writers.py --kills 200 [--postgres]

Seconds are between the first version and the last, by the ledger's clock, times (n - 1) / n for the first: models are
loaded before. With ``--kills`` two writers work without end on what a third process tells, one of them is killed at a
random moment, and after each kill the ledger is looked at: every pair that was acknowledged is there once, versions
follow one another without a gap, and at the end every memory is written and sound. Exit status 1 if not. Writes are of
persona-nano; of few steps where they are killed, since how well they teach is nothing to what is tried there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sqlalchemy import select
from store.cluster import Cluster

from tmem import Memory
from tmem.model import Model, load
from tmem.seeds import derive
from tmem.store import writers
from tmem.store.ledger import postgres, schema

USERS = 8  # that are told something while writers are killed


def quick() -> Model:
    """persona-nano with writes of few steps."""
    model, fresh = load("persona-nano"), {"steps": 8, "steps_per_pair": 0, "held": 0}
    settings = model.settings.model_copy(update={"recipes": {"tmem": {"lr": 0.005, "fresh": fresh}}})
    return Model(model.name, model.directory, model.hf, model.tokenizer, settings)


def pair(user: int, number: int) -> tuple[str, str]:
    return f"What is thing {number} of user {user}?", f"w{user}x{number}"


def speed(home: Path, scopes: int, count: int) -> float:
    """Seconds in which so many processes write every memory once."""
    make = partial(Memory, partial(load, "persona-nano"), home)
    with make() as memory:
        for user in range(scopes):
            memory.add(pairs=[pair(user, 0)], absorb=False, user_id=f"u{user}")
        done = list(writers.on_processes(make, count))
        assert len(done) == scopes and all(reason is None for _, reason in done), done
        with memory._shared.home.db.read() as connection:
            made = sorted(map(datetime.fromisoformat, connection.execute(select(schema.versions.c.created)).scalars()))
    assert len(made) == scopes
    return (made[-1] - made[0]).total_seconds() * scopes / (scopes - count)


def fork(life: object) -> int:
    child = os.fork()
    if child:
        return child
    try:
        life()  # type: ignore[operator]
    finally:
        os._exit(1)


def write(model: Model, home: Path) -> None:
    with Memory(model, home) as memory:
        while True:
            for _ in memory.absorb_all():
                pass
            time.sleep(0.01)


def tell(model: Model, home: Path, start: int, acknowledged: int) -> None:
    with Memory(model, home) as memory:
        number = start
        while True:
            user = number % USERS
            receipt = memory.add(pairs=[pair(user, number)], absorb=False, user_id=f"u{user}")
            assert len(receipt.pairs) == 1
            os.write(acknowledged, f"{user} {number}\n".encode())
            number += 1
            time.sleep(0.15)


def check(memory: Memory, told: list[tuple[int, int]], still: bool = False) -> list[str]:
    """What is wrong with the ledger; ``still``: nobody writes meanwhile."""
    wrong, held = [], Counter[tuple[int, str]]()
    for user in range(USERS):
        numbers = [int(row["id"].split("-")[0][1:]) for row in memory.versions(user_id=f"u{user}")]
        rows = memory.get_all(status=None, user_id=f"u{user}")
        held.update((user, row["answer"]) for row in rows if row["status"] != "quarantined")
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"u{user}: versions {numbers}")
        done = sum(row["status"] in ("active", "superseded") for row in rows)
        if done < len(numbers) or (still and done != len(numbers)):  # each has one pair more
            wrong.append(f"u{user}: {len(numbers)} versions, {done} pairs that were written")
    for user, number in told:
        count = held[user, pair(user, number)[1]]
        if count != 1:
            wrong.append(f"u{user}: pair {number} was acknowledged and is there {count} times")
    return wrong


def killed(home: Path, kills: int, seed: int) -> list[str]:
    """What is wrong after so many kills of one of two writers."""
    model, draw, told, wrong = quick(), random.Random(derive("writers", seed)), list[tuple[int, int]](), list[str]()
    with Memory(model, home) as memory:
        memory.warm()
    inside, began = 0, time.perf_counter()
    reading, writing = os.pipe()
    running = [fork(partial(write, model, home)) for _ in range(2)]
    teller = fork(partial(tell, model, home, 0, writing))
    os.close(writing)
    os.set_blocking(reading, False)
    left = b""
    for number in range(1, kills + 1):
        time.sleep(draw.uniform(0.05, 1.0))
        place = draw.randrange(2)
        os.kill(running[place], signal.SIGKILL)
        os.waitpid(running[place], 0)
        with suppress(BlockingIOError):
            left += os.read(reading, 1 << 20)
        *lines, left = left.split(b"\n")
        told += [(int(line.split()[0]), int(line.split()[1])) for line in lines]
        with Memory(model, home) as memory:
            inside += bool(memory.pending())
            wrong += check(memory, told)
        running[place] = fork(partial(write, model, home))
        if number % 20 == 0 or wrong or number == kills:
            took = time.perf_counter() - began
            print(f"{number} kills in {took:.0f} s, {inside} with work begun; {len(told)} pairs, {len(wrong)} wrong")
            sys.stdout.flush()
        if wrong:
            break
    for child in (teller, *running):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with Memory(model, home) as memory:
        while list(memory.absorb_all()):
            pass
        wrong += check(memory, told, still=True) + [f"{one.scope}: {one.problem}" for one in memory.doctor()]
        for user in range(USERS):
            memory.verify(deep=True, user_id=f"u{user}")
    return wrong


def main() -> int:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of every process
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scopes", type=int, default=64)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as ends:
        cluster = Cluster() if options.postgres else None
        if cluster is not None:
            ends.callback(cluster.close)

        def home() -> Path:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="tmem-writers-")))
            if cluster is not None:
                (folder / "tmem.db").write_text(f"{cluster.database()}\n")
            return folder

        if options.kills:
            postgres.LEASE_SECONDS = 2.0  # so that 200 kills are not 200 times 15 seconds
            wrong = killed(home(), options.kills, options.seed)
            print("\n".join(wrong) or "nothing lost, nothing double, all sound")
            return bool(wrong)
        first = 0.0
        for count in map(int, options.processes.split(",")):
            took = speed(home(), options.scopes, count)
            first = first or took
            print(f"{count} processes: {took:.1f} s for {options.scopes} memories, {first / took:.2f} times as fast")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
