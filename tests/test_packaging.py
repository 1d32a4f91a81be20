"""The wheel and the sdist, each in an empty environment; every extra by what needs it. With TMEM_PACKAGING=1 alone.

It builds, and downloads what tmem needs from an index of packages, some minutes long.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

asked_for = pytest.mark.skipif("TMEM_PACKAGING" not in os.environ, reason="set TMEM_PACKAGING=1")
ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
# What works with an extra and would not without it.
EXTRAS = {
    "llamacpp": "import gguf, httpx, xllamacpp; from tmem.model import llamacpp",
    "json": "import llguidance; from tmem.model import grammar",
    "eval": "import httpx, ijson, jinja2, matplotlib, nltk; from tmem.retrieval import BM25; BM25(['a b']).top('a', 1)",
    "server": "import prometheus_client, jwt; from tmem.server import app, mcp_tools, middleware",
    "otel": "import opentelemetry.sdk, opentelemetry.exporter.otlp.proto.http",
    "hub": "import datasets",
    "rl": "import peft; from tmem.training import slow_lora",
    "encoder": "from tmem.retrieval import PACKAGE; import importlib; importlib.import_module(PACKAGE)",
    "gguf": "import gguf; from tmem.model import gguf, to_gguf",
    "postgres": "import psycopg",
    "ray": "import psycopg, ray",
    "s3": "import s3fs",
    "engine": "import httpx; from tmem.model import servers",
    "smollm2": "import gguf; from tmem.retrieval import PACKAGE; import importlib; importlib.import_module(PACKAGE)",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command prints, in an environment that has nothing of this one's."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TMEM"))}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def environment(folder: Path, beside: Path | None = None) -> Path:
    """A new environment's Python; ``beside``: another's, whose packages it sees."""
    venv.create(folder, with_pip=True)
    if beside is not None:
        [packages] = beside.parent.parent.glob("lib/python*/site-packages")
        [own] = folder.glob("lib/python*/site-packages")
        (own / "beside.pth").write_text(f"{packages}\n")
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path) -> None:
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", LOCK, *what)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs, and nothing else."""
    made = environment(tmp_path_factory.mktemp("wheel"))
    [wheel] = built.glob("*.whl")
    with contextlib.suppress(AssertionError):  # the build for CPUs is a tenth of the size, where an index has it
        install(made, re.findall(r"torch==[\w.]+\+cpu", (ROOT / "Makefile").read_text())[0])
    install(made, wheel)
    return made


@asked_for
def test_all_data_is_in_the_wheel_and_in_the_sdist(built: Path) -> None:
    tracked = run("git", "ls-files", "src/tmem", cwd=ROOT).splitlines()
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.removeprefix("src/") for name in tracked} <= set(archive.namelist())
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert set(tracked) <= names and {"LICENSE", "README.md", "pyproject.toml"} <= names


@asked_for
def test_the_wheel_runs_the_demo(python: Path, tmp_path: Path) -> None:
    tmem = python.with_name("tmem")
    assert run(tmem, "--version", cwd=tmp_path).startswith("tmem ")
    shown = run(tmem, "demo", cwd=tmp_path)
    assert "What is" in shown or "Where" in shown
    assert "Lyon" in run(tmem, "add", "--home", tmp_path / "home", "-u", "ana", "-q", "Where?", "-a", "Lyon")
    assert "Lyon" in run(tmem, "ask", "--home", tmp_path / "home", "-u", "ana", "Where?")


@asked_for
def test_the_sdist_installs_and_runs_the_demo(built: Path, python: Path, tmp_path: Path) -> None:
    own = environment(tmp_path / "sdist", beside=python)
    [sdist] = built.glob("*.tar.gz")
    install(own, "--force-reinstall", "--no-deps", sdist)
    where = run(own, "-c", "import tmem; print(tmem.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path)
    assert run(own.with_name("tmem"), "demo", cwd=tmp_path)


@asked_for
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_it_is_for(extra: str, built: Path, python: Path, tmp_path: Path) -> None:
    own = environment(tmp_path / extra, beside=python)
    install(own, "--find-links", built, f"tmem[{extra}]")
    run(own, "-c", EXTRAS[extra], cwd=tmp_path)


def test_every_extra_is_tried() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"dev"}  # which this runs with
