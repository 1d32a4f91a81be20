"""``tmem --version``: what is installed, as a report of a fault should say it. Nothing is imported for it."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

_REQUIRED = re.compile(r"([\w.-]+)(?:\[[^]]*\])?[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")


def environment() -> list[str]:
    """Lines: tmem, Python and the machine, the libraries that it needs, and those of its extras that are there."""
    needed: dict[str, list[str]] = {}  # by extra, "" for all
    for line in requires("tmem") or ():
        found = _REQUIRED.match(line)
        if found and found[1] != "tmem":
            needed.setdefault(found[2] or "", []).append(found[1])
    python = f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}"
    lines = [f"tmem {version('tmem')}", f"{python}, {os.cpu_count()} processors", _versions(needed.pop("", []))]
    needed.pop("dev", None)
    return lines + [f"extra {name}: {_versions(own)}" for name, own in sorted(needed.items())]


def _versions(names: list[str]) -> str:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} -")
    return ", ".join(found)
