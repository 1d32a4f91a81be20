"""What memories of many users need past the machines at hand: machines, money, waiting, and what gives way first.

    python benchmarks/plan.py --check                  # costs measured here, and the model against what really happened
    python benchmarks/plan.py --write 4 --pair 1 --ask 0.5 --load 0.02 --size 2.75

Users come as Zipf has it: a few often, most seldom. They are dealt out to machines by the hash of their scope, each
with its own home. A core makes one write or answer at a time; a user's own calls wait for each other; an answer whose
weights are not in memory reads them first, and the least recently used go. A write costs more with every pair of its
block, which holds any number up to 64. One machine is simulated at the peak hour, event by event. Prints a Markdown
table by number of users. `told, then asked`: a telling and an answer one after the other, each as slow as half or 99 %
of them. `first to give way`: what is fullest, cores, the ledger (the most that one home commits a second) or memory
(full where half of the answers read weights first).

What the model leaves out: networks, machines that fail, and that a batch makes several answers for less.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
import time
from bisect import bisect
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from tmem import Memory
from tmem.model import load

DAY = 86_400
BLOCK = 64  # pairs of a block, of which a new one changes the last
HOTTEST = 20  # times the mean that one user comes
COMMITS = 44.0  # adds a second that one home takes in without training (benchmarks/scale.py)


@dataclass(frozen=True)
class Call:
    at: float
    user: int
    tells: bool


@dataclass(frozen=True)
class Costs:
    """Seconds of a core for a write of no pair, for each pair of its block beside, for an answer and for reading
    weights; megabytes of a user."""

    write: float
    pair: float
    ask: float
    load: float
    size: float

    def __str__(self) -> str:
        return (
            f"a write {self.write:.2g} s and {self.pair:.2g} s a pair, an answer {self.ask:.2g} s, reading weights "
            f"{self.load:.2g} s, {self.size:.2g} MB a user"
        )

    def told(self, pairs: float) -> float:
        return self.write + self.pair * pairs

    def of(self, events: Sequence[Call], pairs: Sequence[int]) -> list[float]:
        """Seconds for each of these calls; ``pairs``: that its block holds then."""
        return [self.told(held) if call.tells else self.ask for call, held in zip(events, pairs, strict=True)]


@dataclass(frozen=True)
class Machine:
    cores: int
    gigabytes: float  # for weights
    busy: float  # share of its cores that may be in use at the peak
    price: float  # of a core for an hour


class Comers:
    """Who comes next: user n as often as n to the ``exponent`` says, and nobody more than HOTTEST times the mean."""

    def __init__(self, users: int, exponent: float, seed: int) -> None:
        self.draw = random.Random(seed)
        often = [(rank + 1) ** -exponent for rank in range(users)]
        most = HOTTEST * sum(often) / users
        self.sums = list(accumulate(min(own, most) for own in often))

    def user(self) -> int:
        return bisect(self.sums, self.draw.random() * self.sums[-1])

    def calls(self, rate: float, told: float, count: int) -> list[Call]:
        """Calls by time: ``rate`` a second, of which the share ``told`` tells something."""
        times = accumulate(self.draw.expovariate(rate) for _ in range(count))
        return [Call(at, self.user(), self.draw.random() < told) for at in times]

    def kept(self, room: int) -> list[int]:
        """The users that a memory with room for so many holds after a long while, the one asked last at the end."""
        held: dict[int, None] = {}
        for _ in range(20 * len(self.sums)):
            if len(held) >= min(room, len(self.sums)):
                break
            user = self.user()
            held.pop(user, None)
            held[user] = None
        return list(held)


@dataclass(frozen=True)
class Seen:
    """Seconds that calls took, waiting included, and the share of answers that read weights first."""

    asked: list[float]
    told: list[float]
    cold: float


def simulate(
    events: Sequence[Call], cores: int, room: int, seconds: Sequence[float], loading: float, kept: Sequence[int] = ()
) -> Seen:
    """Calls on one machine, ``seconds`` of a core for each; its memory has ``room`` for so many users, and ``kept``."""
    waiting: dict[int, list[int]] = {}  # by user: their calls, the next at the end
    for number in reversed(range(len(events))):
        waiting.setdefault(events[number].user, []).append(number)
    ready = [(events[own[-1]].at, own.pop()) for own in waiting.values()]
    heapq.heapify(ready)
    free, held = [0.0] * cores, OrderedDict.fromkeys(kept)
    asked, told, cold = list[float](), list[float](), 0
    while ready:
        since, number = heapq.heappop(ready)
        call = events[number]
        missed = call.user not in held
        held[call.user] = None
        held.move_to_end(call.user)
        if len(held) > room:
            held.popitem(last=False)
        end = max(since, heapq.heappop(free)) + seconds[number] + (loading if missed else 0.0)
        heapq.heappush(free, end)
        if own := waiting[call.user]:
            heapq.heappush(ready, (max(events[own[-1]].at, end), own.pop()))
        (told if call.tells else asked).append(end - call.at)
        cold += missed and not call.tells
    return Seen(asked, told, cold / max(1, len(asked)))


def at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def plan(users: int, costs: Costs, machine: Machine, chosen: argparse.Namespace) -> str:
    """A row of the table."""
    rate = users * (chosen.adds + chosen.asks) / DAY * chosen.peak
    told = chosen.adds / (chosen.adds + chosen.asks)
    mean = told * costs.told(BLOCK / 2) + (1 - told) * (costs.ask + costs.load)
    machines = max(1, -(-rate * mean // (machine.cores * machine.busy)))
    own = max(1, round(users / machines))
    room = int(machine.gigabytes * 1000 / costs.size)
    comers = Comers(own, chosen.zipf, seed=users)
    kept = comers.kept(room)
    events = comers.calls(rate / machines, told, chosen.events)
    pairs = [comers.draw.randint(1, BLOCK) for _ in events]
    seen = simulate(events, machine.cores, room, costs.of(events, pairs), costs.load, kept)
    full = {
        "cores": rate / machines * mean / machine.cores,
        "the ledger": rate / machines * told / COMMITS,
        "memory": seen.cold * 2,
    }
    cells = (
        f"{users:,}",
        f"{rate:.3g}",
        f"{machines:,.0f}",
        f"{machines * machine.cores * machine.price * 24 * 30:,.0f}",
        f"{users * costs.size / 1e6:,.3g}",
        f"{100 * seen.cold:.0f} %",
        f"{at(seen.asked, 0.5):.2f} / {at(seen.asked, 0.99):.2f}",
        f"{at(seen.told, 0.5) + at(seen.asked, 0.5):.1f} / {at(seen.told, 0.99) + at(seen.asked, 0.99):.1f}",
        max(full, key=lambda name: full[name]) + f" ({100 * max(full.values()):.0f} %)",
    )
    return f"| {' | '.join(cells)} |"


def check(name: str, users: int, count: int) -> Costs:
    """Tell and ask memories for real: the first half of the calls says what calls cost, the other is foretold."""
    model, draw = load(name), random.Random(1)
    known, events = set[int](), list[Call]()
    for call in Comers(users, 1.0, seed=1).calls(1.0, 0.3, count):
        events.append(replace(call, tells=call.tells or call.user not in known))  # whom nothing was told asks nothing
        known.add(call.user)
    seconds, pairs, loads, size = list[float](), list[int](), list[float](), 0.0
    told = Counter[int]()
    with tempfile.TemporaryDirectory() as home, Memory(model, home) as memory:
        memory.add(pairs=[("What is Maria's job?", "baker")], user_id="first")  # what is made once is made
        memory.ask("What is Maria's job?", user_id="first")
        for place, call in enumerate(events):
            user, began = f"user {call.user}", time.process_time()
            if call.tells:
                pair = f"What is the {place} of Maria's list?", f"word {draw.randrange(99)}"
                memory.add(pairs=[pair], user_id=user)
            else:
                memory.ask("What is on Maria's list?", user_id=user, unknown="base")
            seconds.append(time.process_time() - began)
            told[call.user] += call.tells
            pairs.append(told[call.user])
        for user in {call.user for call in events}:
            scope = memory.scope(f"user {user}")
            memory._shared.home.drop_states(scope.id)
            began = time.process_time()
            state = memory._shared.home.state(scope.id)
            loads.append(time.process_time() - began)
            size = sum(value.nbytes for value in state.values()) / 1e6
    half = count // 2
    costs = fitted(seconds[:half], events[:half], pairs[:half], statistics.fmean(loads), size)
    print(f"{name}, {half} calls: {costs}")
    later = events[half:]
    pace = sum(seconds[half:]) / 0.6 / (later[-1].at - later[0].at)  # so that the one core is busy for 0.6 of the time
    later = [replace(call, at=(call.at - later[0].at) * pace) for call in later]
    real = simulate(later, 1, users, seconds[half:], 0.0)
    foretold = simulate(later, 1, users, costs.of(later, pairs[half:]), 0.0)
    print(f"\n| seconds of the other {half}, waiting included | really | foretold |\n|---|---|---|")
    for what in ("told", "asked"):
        for share in (0.5, 0.9):
            found = (at(getattr(seen, what), share) for seen in (real, foretold))
            print("| {}, {:.0f} % of calls within | {:.2f} | {:.2f} |".format(what, 100 * share, *found))
    print()
    return costs


def fitted(
    seconds: Sequence[float], events: Sequence[Call], pairs: Sequence[int], loading: float, size: float
) -> Costs:
    """What calls cost, a write by a straight line through its pairs."""
    told = [(held, own) for own, call, held in zip(seconds, events, pairs, strict=True) if call.tells]
    slope, start = statistics.linear_regression(*zip(*told, strict=True))
    ask = statistics.fmean(own for own, call in zip(seconds, events, strict=True) if not call.tells)
    return Costs(start, slope, ask, loading, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="MODEL", nargs="?", const="persona-nano", help="measure the costs here")
    parser.add_argument("--write", type=float, default=0.78)
    parser.add_argument("--pair", type=float, default=0.34)
    parser.add_argument("--ask", type=float, default=0.035)
    parser.add_argument("--load", type=float, default=0.0043)
    parser.add_argument("--size", type=float, default=0.62, help="megabytes of a user's weights")
    parser.add_argument("--adds", type=float, default=10, help="by a user in a day")
    parser.add_argument("--asks", type=float, default=30, help="by a user in a day")
    parser.add_argument("--peak", type=float, default=3, help="the peak hour, times the mean")
    parser.add_argument("--zipf", type=float, default=1.0)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--memory", type=float, default=32, help="gigabytes of a machine for weights")
    parser.add_argument("--busy", type=float, default=0.6)
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    parser.add_argument("--events", type=int, default=20_000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    costs = Costs(chosen.write, chosen.pair, chosen.ask, chosen.load, chosen.size)
    if chosen.check:
        costs = check(chosen.check, users=8, count=90)
    machine = Machine(chosen.cores, chosen.memory, chosen.busy, chosen.price)
    print(
        f"{machine.cores} cores and {machine.gigabytes:g} GB for weights, {machine.price:g} a core and hour; {costs}\n"
    )
    columns = ("users", "calls a second at the peak", "machines", "a month", "TB of weights")
    columns += ("answers that read weights", "asked, s: half / 99 %", "told, then asked, s: half / 99 %")
    columns += ("first to give way",)
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for power in range(3, 8):
        print(plan(10**power, costs, machine, chosen), flush=True)


if __name__ == "__main__":
    main()
