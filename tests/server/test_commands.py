"""``tmem serve`` and ``tmem keys`` from the command line."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from cli.conftest import tmem  # noqa: F401
from cli.running import Run

from tmem.cli.server import is_local


def test_keys_are_made_listed_and_revoked(tmem: Run, tmp_path: Path) -> None:  # noqa: F811
    home = ("--home", tmp_path / "home")
    code, out, err = tmem("keys", "make", "phone", "--user", "ana", *home)
    assert code == 0 and out.startswith("tmem-") and "not shown again" in err
    made = json.loads(tmem("keys", "make", "app", "--any-user", *home, "--json")[1])
    assert made["user"] is None and made["key"].startswith("tmem-")
    listed = tmem("keys", "list", *home)[1]
    assert "phone: ana, made" in listed and "app: any user" in listed and out.strip() not in listed
    assert tmem("keys", "revoke", "phone", *home)[0] == 0
    rows = json.loads(tmem("keys", "list", *home, "--json")[1])["keys"]
    assert [bool(row["revoked"]) for row in rows] == [True, False] and all("sha256" not in row for row in rows)
    for wrong in (("make", "x"), ("make", "x", "--user", "a", "--any-user"), ("make", "app", "--any-user")):
        code, out, err = tmem("keys", *wrong, *home)
        assert code == 2 and out == "" and err.startswith("tmem: ") and err.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_does_not_listen_elsewhere_without_a_key(tmem: Run, tmp_path: Path, host: str) -> None:  # noqa: F811
    code, out, err = tmem("serve", "--host", host, "--home", tmp_path)
    assert code == 2 and out == "" and "tmem keys make" in err and err.count("\n") == 1


def test_without_the_extra_it_says_so(tmem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, out, err = tmem("serve", "--home", tmp_path)
    assert code == 2 and out == "" and "pip install 'tmem[server]'" in err and err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(tmem: Run, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("fastapi")
    pytest.importorskip("mcp")
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = tmem("serve", "--port", taken.getsockname()[1], "--home", tmp_path)
    assert code == 2 and "--port" in err and err.count("\n") == 1


def test_what_is_local() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_local, ("0.0.0.0", "::", "10.0.0.1", "", "localhost.evil.example")))


def test_help_has_examples(tmem: Run) -> None:  # noqa: F811
    out = tmem("serve", "--help")[1]
    assert out.count("tmem serve --") >= 3


def test_an_engine_is_closed_when_the_server_ends(
    tmem: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the application came to its end or never began."""
    uvicorn = pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    pytest.importorskip("mcp")
    from tmem.model import HFEngine

    closed = list[str]()

    class Elsewhere(HFEngine):
        def close(self) -> None:
            closed.append("closed")

    monkeypatch.setattr("tmem.model.engines.open_engine", lambda model, where: Elsewhere(model))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: closed.append("served"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = ("serve", "-m", "persona-nano", "--engine", "http://127.0.0.1:9", "--port", port, "--home", tmp_path)
    assert tmem(*serve)[0] == 0 and closed == ["served", "closed"]
    monkeypatch.setattr("tmem.Memory.warm", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tmem(*serve)
    assert closed == ["served", "closed", "closed"]
