"""The public surface of tmem, and pages about it.

``python docs/api.py`` writes docs/api.txt: every public name with its signature, so that a change of it shows.
``python docs/api.py FOLDER`` makes pages of the docstrings by pdoc, without a network (``make docs``).
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

# What is public is in ``__all__`` of these. Everything else may change without notice.
MODULES = (
    "tmem",
    "tmem.errors",
    "tmem.model",
    "tmem.fastweights",
    "tmem.agent",
    "tmem.policies",
    "tmem.tasks.base",
    "tmem.evaluation",
)
ADAPTERS = ("tmem.adapters.langgraph", "tmem.adapters.openai_agents")  # in the pages, where their library is installed
FILE = Path(__file__).with_name("api.txt")


def lines(module: ModuleType) -> Iterator[str]:
    """A line for every public name of a module, and for every public member of its classes."""
    for name in sorted(module.__all__):
        value = getattr(module, name)
        yield f"{module.__name__}.{name}{_signature(value)}"
        if inspect.isclass(value):
            for member, own in sorted(members(value).items()):
                yield f"{module.__name__}.{name}.{member}{_signature(own)}"


def members(owner: type) -> dict[str, Any]:
    """What a class of ours has beyond ``object``, by name; what is inherited from a class of ours, too."""
    ours = [one for one in owner.__mro__ if one.__module__.startswith("tmem")]
    found: dict[str, Any] = {}
    for one in reversed(ours):
        found |= {name: own for name, own in vars(one).items() if not name.startswith("_")}
        found |= dict.fromkeys(name for name in vars(one).get("__annotations__", {}) if not name.startswith("_"))
    return found


class _Words(str):
    """An annotation as it was written: ``inspect`` puts quotes around other texts."""

    __repr__ = str.__str__

    def __new__(cls, annotation: Any) -> Any:
        return annotation if annotation is inspect.Signature.empty else super().__new__(cls, annotation)


def _signature(value: Any) -> str:
    value = getattr(value, "__func__", value)
    if not callable(value):
        return ""
    try:
        own = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    given = [one.replace(annotation=_Words(one.annotation)) for one in own.parameters.values()]
    text = str(own.replace(parameters=given, return_annotation=_Words(own.return_annotation)))
    return re.sub(r"<function .*? at 0x\w+>|<(\w+)>", r"\1", text)


def pages(folder: Path) -> None:
    """The docstrings as pages. Whatever pdoc warns of is an error."""
    import warnings

    import pdoc

    warnings.simplefilter("error")
    pdoc.render.configure(docformat="restructuredtext", search=True)
    names = list(MODULES)
    for name in names:
        module = importlib.import_module(name)
        for own in module.__all__:
            setattr(module, own, getattr(module, own))  # what a module imports when it is asked for pdoc would not find
    for name in ADAPTERS:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
            names.append(name)
    pdoc.pdoc(*names, output_directory=folder)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pages(Path(sys.argv[1]))
    else:
        found = [line for name in MODULES for line in lines(importlib.import_module(name))]
        FILE.write_text("\n".join(found) + "\n", encoding="utf-8")
