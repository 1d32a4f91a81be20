"""Rows of kinds.py about where a home lives, and the processes that they need beside it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from kinds_rows import PAIR, Got, Place, refused, row

import tmem as package
from tmem import Memory
from tmem.errors import TmemError
from tmem.store.care.backup import restore

ELSEWHERE, LIVES = "A home on another machine", "Where it lives"
MORE = [("What is Ana's job?", "baker"), ("What is Ana's pet?", "cat")]

THERE = """
import json, sys
from pathlib import Path
from tmem import Memory
from tmem.errors import TmemError

home, found = Path(sys.argv[1]), {}
with Memory("persona-nano", home) as memory:
    mine, other = memory.scope("u"), memory.scope("w")
    found["verify"] = mine.verify(deep=True)
    other.forget([other.get_all()[0]["id"]])
    found["forget"] = [memory.ask("What is Ana's pet?", user_id="w").text, "made_on" in other.verify(deep=True)]
    found["add"] = [pair["status"] for pair in memory.add(pairs=[("Who is Bo?", "a friend")], user_id="v").pairs]
    for path in home.rglob("*.safetensors"):
        path.unlink()
    memory.close()
with Memory("persona-nano", home) as memory:
    mine = memory.scope("u")
    for name, call in {"rebuild": mine.rebuild, "old": lambda: mine.ask("What is Ana's city?", version=1).text}.items():
        try:
            found[name] = str(call())
        except TmemError as error:
            found[name] = str(error)
    try:
        found["lost"] = mine.ask("What is Ana's city?").text
    except TmemError as error:
        found["lost"] = str(error)
    adopted = [done for _, done, _ in memory.rebuild_all()]
    found["adopt"] = [adopted, mine.ask("What is Ana's city?").text, "made_on" in mine.verify(deep=True)]
print(json.dumps(found))
"""
_FOUND = dict[str, Any]()


def there(place: Place, what: str) -> Any:
    """What another process finds that computes as a processor with AVX2 alone; None where that is this one.

    All that is tried there is tried at the first call.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None
    if not _FOUND:
        for pair in (PAIR, *MORE):
            place.memory.add(pairs=[pair], user_id="u")
            place.memory.add(pairs=[pair], user_id="w", absorb=False)
        for number in range(13):
            place.memory.add(pairs=[(f"What is Bo's {number}?", f"word {number}")], user_id="u", absorb=number == 12)
        place.memory.absorb(user_id="w")
        place.memory.close()
        done = script("-c", THERE, str(place.folder / "home"), ATEN_CPU_CAPABILITY="avx2")
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        _FOUND.update(json.loads(done.stdout.splitlines()[-1]))
    return _FOUND[what]


NO_OTHER = "not tried: this processor has no AVX-512, so that there is no other one to compare with", None


def script(
    *command: str, folder: Path | None = None, typed: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with this copy of the package; ``typed``: what it reads."""
    env = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), **variables}
    return subprocess.run(
        [sys.executable, *command], env=env, cwd=folder, input=typed, capture_output=True, text=True, check=False
    )


def tmem(
    *arguments: str, folder: Path | None = None, typed: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return script("-m", "tmem", *arguments, folder=folder, typed=typed, **variables)


@row(ELSEWHERE, "the same ledger on AVX2", "16 writes, then verify --deep", "where it was made; answers the same")
def verify_there(place: Place) -> Got:
    found = there(place, "verify")
    if found is None:
        return NO_OTHER
    got = f"made on {found.get('made_on')}, {found.get('distance', 0):.1e} apart, {found.get('differ')} answers differ"
    return got, found.get("made_on") == "AVX512" and found["differ"] == 0 and found["distance"] < 0.05


@row(ELSEWHERE, "rebuild, an old version", "after the files were lost, on AVX2", "named with the command, or works")
def rebuilt_there(place: Place) -> Got:
    found = there(place, "rebuild"), there(place, "old")
    if found[0] is None:
        return NO_OTHER
    return "; ".join(found), all("tmem rebuild --all" in one or one == PAIR[1] for one in found)


@row(ELSEWHERE, "forget", "of what AVX-512 wrote, on AVX2", "exact for the machine that forgets")
def forgotten_there(place: Place) -> Got:
    found = there(place, "forget")
    return NO_OTHER if found is None else (str(found), found == ["cat", False])


@row(ELSEWHERE, "files of weights lost", "removed, then asked on AVX2", "works, or one line with the command")
def lost_there(place: Place) -> Got:
    found = there(place, "lost")
    return NO_OTHER if found is None else (found, found == PAIR[1] or "tmem rebuild" in found)


@row(ELSEWHERE, "the home is taken over", "rebuild --all on AVX2", "one command; sound then")
def adopted_there(place: Place) -> Got:
    found = there(place, "adopt")
    return NO_OTHER if found is None else (str(found), found == [[1], PAIR[1], False])


@row(
    ELSEWHERE,
    "torch upgraded",
    "three users told under another torch: ask, users, rebuild --all",
    "one command; all three",
)
def upgraded(place: Place) -> Got:
    names, own = ("ana", "ben", "cleo"), torch.__version__
    torch.__version__ = "2.0.0"
    try:
        with Memory(place.model, place.folder / "home") as before:
            for name in names:
                before.add(pairs=[PAIR], user_id=name)
    finally:
        torch.__version__ = own
    said, well = refused(lambda: place.memory.ask(PAIR[0], user_id="ana"))
    told = [user["user_id"] for user in place.memory.users()]
    first, _, _ = next(place.memory.rebuild_all())  # stopped after one, and gone on with
    rest = [name for name, _, _ in place.memory.rebuild_all()]
    asked = [place.memory.ask(PAIR[0], user_id=name).text for name in names]
    well = bool(well) and "tmem rebuild --all" in said and sorted([first, *rest]) == sorted(told) == list(names)
    return f"{said}; {first}, then {rest}: {asked}", well and asked == [PAIR[1]] * 3


@row(ELSEWHERE, "add of one pair", "on AVX-512 and on AVX2", "active on both")
def added_there(place: Place) -> Got:
    found = there(place, "add")
    if found is None:
        return NO_OTHER
    with Memory(place.model, place.folder / "here") as here:
        own = [pair["status"] for pair in here.add(pairs=[("Who is Bo?", "a friend")], user_id="v").pairs]
    return f"{own}, {found}", own == found == ["active"]


@row(LIVES, "restore beside a left-over log", "a backup put back while the old log lies there", "what was backed up")
def restored(place: Place) -> Got:
    mine = place.memory.scope("u")
    mine.add(pairs=[PAIR])
    place.memory.backup(place.folder / "copy")
    mine.add(pairs=[MORE[0]])
    restore(place.folder / "copy", place.folder / "home")
    with Memory(place.model, place.folder / "home") as again:
        found = [pair["answer"] for pair in again.get_all(user_id="u")]
    return str(found), found == [PAIR[1]]


@row(LIVES, "signs in the path", "homes called who?a and who?b", "two homes, mode 0600")
def signs(place: Place) -> Got:
    for name in ("who?a", "who?b"):
        with Memory(place.model, place.folder / name) as memory:
            memory.add(pairs=[PAIR], user_id=name, absorb=False)
    files = [place.folder / name / "tmem.db" for name in ("who?a", "who?b")]
    modes = [oct(file.stat().st_mode)[-3:] for file in files if file.exists()]
    return str(modes), modes == ["600", "600"]


@row(LIVES, "fork", "a child of a process that has the home open adds", "raises at once")
def forked(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="u", absorb=False)
    child = os.fork()
    if child == 0:
        try:
            place.memory.get_all(user_id="u")
        except TmemError:
            os._exit(3)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"ended with {code}", code == 3


@row(LIVES, "home removed under a running process", "rmtree(home), add", "an error")
def removed(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="u", absorb=False)
    shutil.rmtree(place.folder / "home")
    return refused(lambda: place.memory.add(pairs=[MORE[0]], user_id="u", absorb=False))


@row(LIVES, "erasing a user", "erase, then the address in the bytes of the home", "nothing")
def erased(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="ana@example.org")
    place.memory.erase(user_id="ana@example.org")
    found = [
        file.name
        for file in (place.folder / "home").rglob("*")
        if file.is_file() and b"example.org" in file.read_bytes()
    ]
    return f"in {found or 'no file'}", not found and place.memory.users() == []


@row(LIVES, "moving a user", "export, delete_all, import_, with metadata and a pending pair", "whole")
def moved(place: Place) -> Got:
    mine, path = place.memory.scope("u"), place.folder / "ledger"
    mine.add(pairs=[PAIR], metadata={"tag": 1}, timestamp="8 May 2023")
    mine.add(pairs=[MORE[0]], absorb=False)
    mine.export(path)
    path.write_text(path.read_text() + "\n")
    mine.delete_all()
    mine.import_(path)
    back = [pair for status in ("active", "pending") for pair in mine.get_all(status=status)]
    found = [(pair["answer"], pair["metadata"]) for pair in back]
    return str(found), sorted(map(str, found)) == sorted(map(str, [(PAIR[1], {"tag": 1}), (MORE[0][1], None)]))


@row(LIVES, "read-only home", "list, ask, stats, export, backup; add", "looking works; add is one line")
def read_only(place: Place) -> Got:
    from tmem.store.ledger import database

    place.memory.add(pairs=[PAIR], user_id="u")
    place.memory.close()
    own, database.only_read = database.only_read, lambda file: file.parent == place.folder / "home"
    try:
        with Memory(place.model, place.folder / "home") as memory:
            mine = memory.scope("u")
            looked = mine.ask(PAIR[0]).text == PAIR[1] and len(mine.get_all()) == 1 and bool(mine.stats())
            looked = looked and mine.export(place.folder / "out") == 1 and memory.backup(place.folder / "copy") == 1
            said, ok = refused(lambda: mine.add(pairs=[MORE[0]]))
    finally:
        database.only_read = own
    return said, looked and ok


@row(LIVES, "terminals", "PYTHONIOENCODING=cp1252: add -a Łukasz, list, users", "another letter, code 0")
def terminals(place: Place) -> Got:
    home, whose = ("--home", str(place.folder / "home")), ("-u", "Łukasz")
    pair = ("-q", "What is Ana's name?", "-a", "Łukasz", "-m", "persona-nano")
    done = [
        tmem(*command, *home, PYTHONIOENCODING="cp1252")
        for command in (("add", *pair, *whose), ("list", *whose), ("users",))
    ]
    right = [one.returncode == 0 and "?ukasz" in one.stdout and not one.stderr for one in done]
    return f"{[one.returncode for one in done]}: {done[-1].stdout}", all(right)


@row(LIVES, "looking is slow", "tmem list, versions, stats, users, --help: the least of seven", "at most 0.3 s of CPU")
def looking(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="u", absorb=False)
    home, took = ("--home", str(place.folder / "home")), dict[str, float]()
    for name, more in (("list", ("-u", "u")), ("versions", ("-u", "u")), ("stats", ("-u", "u")), ("users", ())):
        took[name] = least(place, name, *more, *home)
    took["--help"] = least(place, "--help")
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()), max(took.values()) <= 0.3


def least(place: Place, *command: str) -> float:
    """Seconds of processor time of a command, compiled as when it is installed; other work only adds to them."""
    took = list[float]()
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = tmem(*command, PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(place.folder / "compiled"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return min(took)


@row(LIVES, "mistyped ids", "tmem list, forget, ask -u marai; delete_all", "no scope made, maria told")
def mistyped(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="maria", absorb=False)
    place.memory.delete_all(user_id="marai")
    whose = ("-u", "marai", "--home", str(place.folder / "home"), "--model", "persona-nano")
    said = [tmem(*command, *whose).stderr for command in (("list",), ("forget", "3f2a"), ("ask", "Who?"))]
    return said[-1], all("maria" in one for one in said) and len(place.memory.users()) == 1


@row(LIVES, "two at once", "two threads delete_all", "both succeed")
def two_at_once(place: Place) -> Got:
    place.memory.add(pairs=[PAIR, MORE[0]], user_id="u")
    with ThreadPoolExecutor(2) as pool:
        errors = [done.exception() for done in [pool.submit(place.memory.delete_all, user_id="u") for _ in range(2)]]
    return f"{[error for error in errors if error] or 'no error'}", errors == [None, None]


@row(LIVES, "the clock set back", "a second quarantine an hour before the first", "each write its own reason")
def clock_set_back(place: Place) -> Got:
    from tmem.store.ledger import queries

    mine, now, reasons = place.memory.scope("u"), queries.now, list[str | None]()
    try:
        for hour, largest in ((10, 0.0), (9, 1e-9)):
            queries.now = lambda hour=hour: f"2026-11-28T{hour:02}:00:00.000+00:00"
            mine.trainer.largest = largest
            reasons.append(mine.add(pairs=[(f"What is Ana's {hour}?", "x")]).reason)
    finally:
        queries.now = now
    ends = [str(reason).rsplit(" ", 1)[-1] for reason in reasons]
    return str(reasons), ends == ["0", "1e-09"]


@row(LIVES, "narrow terminals", "list and eval in 80 columns, [bold] in an answer", "no wider, no word cut, as it is")
def narrow(place: Place) -> Got:
    place.memory.add(pairs=[("What is Ana's city?", "[bold]Rome[/bold]")], user_id="u", absorb=False)
    done = tmem("list", "-u", "u", "--all", "--home", str(place.folder / "home"), COLUMNS="80")
    scores = tmem(
        *("eval", "persona", "--facts", "2", "--limit", "1", "--memory", "none,full,rag", "--recipe", "tmem"),
        COLUMNS="80",
    )
    tables = [line for line in (done.stdout + scores.stdout).splitlines() if line[:1] in "┏┃┡│└"]
    widest, whole = max(map(len, tables), default=0), all(name in scores.stdout for name in ("none", "full", "rag"))
    return f"{widest} columns", whole and widest <= 80 and "[bold]Rome[/bold]" in done.stdout
