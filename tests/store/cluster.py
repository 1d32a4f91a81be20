"""A Postgres server of its own in a temporary folder, and a transaction pooler before it: for tests and benchmarks."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def program(name: str) -> str | None:
    """Where a program of Postgres is; Debian does not put all of them on the path."""
    places = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), "/usr/sbin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def point(path: Path, url: str) -> Path:
    """A home whose ledger is at ``url``."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "tmem.db").write_text(f"{url}\n")
    return path


class Cluster:
    """A server that is there until :meth:`close`. ``why_not`` says why there can be none, None if there can."""

    def __init__(self) -> None:
        self.folder, self.port, self.databases = Path(tempfile.mkdtemp(prefix="tmem-pg-")), free_port(), 0
        # It does not run as root.
        self.user = None if os.getuid() else pwd.getpwnam("postgres" if _there("postgres") else "nobody").pw_name
        if self.user is not None:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self._others: list[subprocess.Popen[bytes]] = []
        self._run("initdb", "-D", self.data, "-U", "tmem", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    @staticmethod
    def why_not() -> str | None:
        if not hasattr(os, "getuid") or any(program(name) is None for name in ("initdb", "pg_ctl")):
            return "needs Postgres on this machine (Debian: apt-get install postgresql)"
        try:
            import psycopg  # noqa: F401
        except ImportError:
            return "needs the extra postgres"
        return None

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c max_connections=200"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """``how``: also ``immediate``, as when the machine goes."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", how, "stop")

    def database(self) -> str:
        """The address of a new database."""
        self.databases += 1
        self.sql(f"CREATE DATABASE d{self.databases}")
        return self.address(f"d{self.databases}")

    def empty(self, url: str) -> str:
        """A database again as it was made, which is sooner done than another one."""
        self.sql("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", database=url.rpartition("/")[2])
        return url

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What the last of these statements gives, each in a transaction of its own."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def address(self, database: str) -> str:
        return f"postgresql://tmem@127.0.0.1:{self.port}/{database}"

    def pooler(self, url: str) -> str:
        """The address of the same database behind pgbouncer, which gives every transaction another connection."""
        port, file = free_port(), self.folder / f"bouncer-{len(self._others)}.ini"
        file.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.port} user=tmem\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
            "default_pool_size = 3\nmax_client_conn = 200\n"
        )
        command = [str(program("pgbouncer")), str(file)]
        self._others.append(subprocess.Popen(command, user=self.user, **QUIET))
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return url.replace(f":{self.port}/", f":{port}/")
            time.sleep(0.05)
        raise RuntimeError("pgbouncer did not start")

    def close(self) -> None:
        for other in self._others:
            other.send_signal(signal.SIGTERM)
            other.wait()
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(program(name)), *arguments]
        subprocess.run(
            command, user=self.user, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )


def _there(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False
