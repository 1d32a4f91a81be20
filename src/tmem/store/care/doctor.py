"""Looking a home over, and making anew what its ledger can make anew: ``tmem doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from tmem.errors import DeltaError, IntegrityError, StoreError
from tmem.store.home import Home
from tmem.store.ledger import queries
from tmem.store.ledger import schema as db
from tmem.store.ledger.queries import Version
from tmem.store.weights.snapshots import ANEW


@dataclass(frozen=True)
class Finding:
    """What is wrong, in words. ``fixed``: it no longer is. ``remedy``: what was done, or what can be."""

    scope: str  # the names that it was made with; "" for the home itself
    problem: str
    remedy: str
    fixed: bool = False


def examine(home: Home, fix: bool = False, turn: AbstractContextManager[Any] | None = None) -> list[Finding]:
    """Everything that is wrong with a home, nothing for a sound one; ``fix`` makes anew what can be.

    Checked are the database, every version's place in the ledger, the numbers in every file of weights, what is left
    over, and what was told and never written. Only the ledger cannot be made anew: that needs a backup. ``turn`` is
    entered for every scope, after its lock.
    """
    found = list(_database(home))
    scopes = home.scopes()
    for scope, name in scopes.items():
        try:
            with home.lock(scope, looks=not fix), turn or nullcontext():
                home.drop_states(scope)
                found += _scope(home, scope, name, fix)
        except DeltaError as error:
            found.append(Finding(name, str(error), "open it with what it was made with, or tmem rebuild --all"))
        except IntegrityError as error:
            found.append(Finding(name, str(error), "put a backup in its place: tmem restore FOLDER"))
    known = {scope[:16] for scope in scopes}
    strange = [name for name in home.files.folders() if name not in known]
    found += [Finding("", f"scopes/{name} belongs to nobody", "remove it by hand") for name in sorted(strange)]
    return found


def _database(home: Home) -> Iterator[Finding]:
    remedy = "put a backup in its place: tmem restore FOLDER"
    for problem in home.db.damage():
        yield Finding("", problem, remedy)


def _scope(home: Home, scope: str, name: str, fix: bool) -> Iterator[Finding]:
    with home.db.read() as connection:
        rows = connection.execute(select(db.pairs.c.id, db.pairs.c.status).where(db.pairs.c.scope == scope)).all()
    pending = [row.id for row in rows if row.status == "pending"]
    active = {row.id for row in rows if row.status == "active"}
    ledger = home.ledger(scope)
    found, anew = list(ledger.versions.values()), ledger.digests()
    for version in found:
        if anew[version.number] != version.ledger:
            wrong = f"the ledger is not the one that version {version.number} was made from"
            yield Finding(name, wrong, "put a backup in its place: tmem restore FOLDER")
            return  # nothing can be made anew from it
    wrongly, held = active - ledger.current().keys(), ledger.current().keys() - active
    if wrongly or held:
        if fix:
            with home.writing(scope) as connection:
                queries.change_pairs(connection, scope, list(wrongly), status="superseded")
                queries.change_pairs(connection, scope, list(held), status="active")
        done = "marked anew" if fix else "--fix marks them anew"
        yield Finding(name, f"{len(wrongly | held)} pairs are not marked as what they are", done, fix)
    files = {version.snapshot: version for version in found if version.snapshot is not None}  # versions may share one
    for version in files.values():
        problem = _broken(home, scope, version)
        if problem is not None:
            yield _anew(home, scope, name, version, problem) if fix else Finding(name, problem, "--fix makes it anew")
    kept = {version.snapshot for version in found}
    spare = [name for name in home.files.sizes(scope) if name not in kept]
    if spare:
        if fix:
            home.clean(scope)
        done = "removed" if fix else "--fix removes them"
        yield Finding(name, f"{len(spare)} files are left over ({spare[0]})", done, fix)
    if pending:
        done = "--fix writes them; so does the next add"
        if fix:
            home.absorb(scope)
            with home.db.read() as connection:
                refused = queries.quarantine_reasons(connection, scope, pending)
            done = f"refused, see tmem list --all: {'; '.join(refused)}" if refused else "written now"
        yield Finding(name, f"{len(pending)} pairs were told and never written", done, fix)


def _broken(home: Home, scope: str, version: Version) -> str | None:
    """What is wrong with a version's file of weights, in words."""
    assert version.snapshot is not None and version.weights is not None
    try:
        state = home.files.load(scope, version.snapshot, version.ledger, version.weights)
        home.trainer.check(state)
    except (IntegrityError, DeltaError) as error:
        return str(error).removesuffix(f"; {ANEW}")
    return None


def _anew(home: Home, scope: str, name: str, version: Version, problem: str) -> Finding:
    """Train a version's weights anew from the ledger and write their file again."""
    columns = db.versions.c
    with home.writing(scope) as connection:  # nothing is started from the damaged file
        queries.change_versions(connection, scope, columns.snapshot == version.snapshot, snapshot=None)
    try:
        file, weights = home.files.save(scope, version.ledger, home.state(scope, version.number))
    except StoreError as error:
        return Finding(name, problem, str(error))
    same = (columns.ledger == version.ledger) & (columns.weights == weights)
    with home.writing(scope) as connection:
        queries.change_versions(connection, scope, same, snapshot=file)
    return Finding(name, problem, "made anew from the ledger, bit for bit", True)
