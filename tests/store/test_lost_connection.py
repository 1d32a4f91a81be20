"""A connection to Postgres that is lost at any moment: what can be made again is, once; else one line says so."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from store import test_torture
from store.cluster import Cluster, point
from store.test_postgres import Slow, open_home, rows, tell
from store.volumes import figure, volume

from tmem.errors import StoreError
from tmem.store.care.doctor import examine
from tmem.store.home import Home
from tmem.store.ledger import postgres
from tmem.store.ledger.database import Lost
from tmem.store.ledger.queries import NewPair

pytestmark = pytest.mark.skipif(Cluster.why_not() is not None, reason=str(Cluster.why_not()))
ANA = ("ana", None, None)


def cut(home: Home, cluster: Cluster, at: int) -> list[int]:
    """Let the server end this home's connection before its N-th statement; returns a list that counts them."""
    count = [0]
    database = (home.db.engine.url.database or "",)

    @event.listens_for(home.db.engine, "before_cursor_execute")
    def before(connection: Any, *_: Any) -> None:
        count[0] += 1
        if count[0] == at:
            number = connection.connection.dbapi_connection.info.backend_pid
            cluster.sql(f"SELECT pg_terminate_backend({number}, 5000)", database=database[0])

    return count


@pytest.mark.parametrize("operation", test_torture.OPERATIONS)
def test_whenever_the_connection_is_lost(operation: str, tmp_path: Path, cluster: Cluster, url: str) -> None:
    at, failed = 0, 0
    while True:
        at += volume(9, 1)
        home = test_torture.open_home(point(tmp_path / f"home-{at}", cluster.empty(url)))
        scope = home.scope(ANA)
        for number in range(3):
            tell(home, scope, f"q{number}")
        before = test_torture.ledger(home, scope)
        counted, problem = cut(home, cluster, at), None
        try:
            test_torture.OPERATIONS[operation](home, scope, list(before))
        except StoreError as error:
            problem = str(error)
            assert "nothing was changed" in problem and "\n" not in problem
        home.close()
        again = test_torture.open_home(tmp_path / f"home-{at}")
        again.absorb(scope)
        test_torture.check(again, scope)
        after = test_torture.ledger(again, scope)
        for pair_id, row in before.items():  # nothing is lost but what was to be forgotten
            assert row[:2] == after[pair_id][:2] or (operation == "forget" and pair_id == next(iter(before)))
        new = [row for pair_id, row in after.items() if pair_id not in before]
        assert len(new) == len(set(new)) <= 1  # told again, but not twice
        assert [found for found in examine(again, fix=True) if not found.fixed] == []
        again.close()
        failed += problem is not None
        if counted[0] < at:
            break
    figure(f"a connection lost before the N-th statement of {operation}: {at} runs, {failed} ended in one line")


class Proxy:
    """Before a server; while it is ``deaf`` it passes on what it is told and then hangs up instead of answering."""

    def __init__(self, port: int) -> None:
        self.server, self.deaf = ("127.0.0.1", port), False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self.listening.accept()
            try:
                server = socket.create_connection(self.server)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and self.deaf:
                    self.deaf = False
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_commit_whose_answer_is_lost_is_not_made_again(tmp_path: Path, cluster: Cluster, url: str) -> None:
    proxy, deaf = Proxy(cluster.port), list[str]()
    home = open_home(tmp_path, url.replace(str(cluster.port), str(proxy.port)))
    ana = home.scope(ANA)

    @event.listens_for(home.db.engine, "before_cursor_execute")
    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement == "COMMIT" and not deaf:
            deaf.append(statement)
            proxy.deaf = True

    home.tell(ana, [NewPair("q", "a")])
    assert deaf and rows(home, ana) == [("q", "pending")]


def test_a_commit_of_which_nobody_can_tell_is_not_made_again(
    tmp_path: Path, cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IN_DOUBT", 1.0)
    monkeypatch.setattr(postgres, "WAITS", (0.1,))
    proxy = Proxy(cluster.port)
    home = open_home(tmp_path, url.replace(str(cluster.port), str(proxy.port)))

    @event.listens_for(home.db.engine, "before_cursor_execute")
    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement == "COMMIT":
            proxy.deaf, proxy.server = True, ("127.0.0.1", 1)  # and the server is gone

    with pytest.raises(StoreError, match="it is not known yet what was written; look again") as caught:
        home.tell(home.scope(ANA), [NewPair("q", "a")])
    assert not isinstance(caught.value, Lost)
    proxy.server = ("127.0.0.1", cluster.port)
    again = open_home(tmp_path, url)
    assert rows(again, again.scope(ANA)) == [("q", "pending")]


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path, cluster: Cluster, url: str) -> None:
    def meanwhile() -> None:
        cluster.stop()
        threading.Timer(1.0, cluster.start).start()

    home = open_home(tmp_path, url, trainer=Slow(meanwhile))
    ana = home.scope(ANA)
    tell(home, ana, "q")
    assert home.head(ana) == 1 and rows(home, ana) == [("q", "active")]
