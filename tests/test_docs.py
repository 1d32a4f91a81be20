"""What the documentation says can be run, and what it names is there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmem.agent.episode import Ask, Episode
from tmem.model import load
from tmem.policies import make_agent

ROOT = Path(__file__).parent.parent
CORE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_memory_of_the_core_s_tour_works() -> None:
    [example] = re.findall(r"```python\n(.*?)```", CORE, re.DOTALL)
    defined: dict[str, Any] = {}
    exec(example, defined)
    model = load("persona-nano")
    agent = replace(make_agent(model), policy=defined["Sentences"], budget=16)
    stream = tuple(f"Ana said something. Ana lives in town {number}." for number in range(4))
    [trajectory] = agent.run([Episode("me", stream, (Ask("q", "Where does Ana live?"),))])
    assert trajectory.triggers > 0 and "q" in trajectory.answers
    assert "Ana lives in town 1." in model.decode(trajectory.actions[-1].prompt_ids)


def test_what_the_tour_names_is_there() -> None:
    folder = ""
    for path, test in re.findall(r"`([a-z_]*/?test_\w+\.py)(?:::(test_\w+))?`", CORE):
        folder = path.rsplit("/", 1)[0] if "/" in path else folder
        file = ROOT / "tests" / (path if "/" in path else f"{folder}/{path}")
        assert file.exists(), path
        assert not test or f"def {test}(" in file.read_text(encoding="utf-8"), test
    for path in re.findall(
        r"`((?:agent|model|fastweights|policies|store|tasks|training|cli)/(?!test_)[\w/]+\.py)", CORE
    ):
        assert (ROOT / "src" / "tmem" / path).exists(), path
