"""What a caller gives, looked at before anything is done with it. Each check gives the value back, or one line.

All raise :class:`~tmem.errors.UsageError`; ``name`` is what the caller calls the value.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tmem.dates import Moment, moment
from tmem.errors import ScopeRequired, UsageError

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[Any, str], Any]


def checked(call: Callable[P, R], **checks: Check) -> Callable[P, R]:
    """A method that looks at those of its arguments first that have a check of their name."""
    signature = inspect.signature(call)

    @wraps(call)
    def run(*args: P.args, **more: P.kwargs) -> R:
        given = signature.bind(*args, **more)
        for name in checks.keys() & given.arguments.keys():
            given.arguments[name] = checks[name](given.arguments[name], name)
        return call(*given.args, **given.kwargs)

    return run


def text(value: Any, name: str) -> str:
    """Any text: what cannot be stored of it is replaced later."""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a text, not {_kind(value)}")
    return value


def text_or_none(value: Any, name: str) -> str | None:
    """Any text, or nothing."""
    return None if value is None else text(value, name)


def key(value: Any, name: str) -> str:
    """A text that is stored and found as it is."""
    try:
        text(value, name).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} {value[:80]!r} is not valid Unicode: leave out the half surrogates") from None
    return str(value)


def key_or_none(value: Any, name: str) -> str | None:
    """A text that is stored and found as it is, or nothing."""
    return None if value is None else key(value, name)


def owner(value: Any, name: str) -> str | None:
    """One of the names of whose memory it is, or nothing. Raises :class:`~tmem.errors.ScopeRequired` for a blank."""
    found = key_or_none(value, name)
    if found is not None and not found.strip():
        raise ScopeRequired(f"{name} is blank: say whose memory, or leave {name} out")
    return found


def when(value: Any, name: str) -> Moment | None:
    """A date or time in any form that is no guess, or nothing."""
    return None if value is None else moment(value, name)


def keys(value: Any, name: str) -> list[str]:
    """A list of such texts."""
    return [key(one, "an id") for one in several(value, f"{name} must be a list of ids")]


def names(value: Any, name: str) -> list[str]:
    """A list of names, none of them blank."""
    found = [text(one, f"one of {name}") for one in several(value, f"{name} must be a list of texts")]
    if not all(one.strip() for one in found):
        raise UsageError(f"one of {name} is blank: leave it out")
    return found


def some(value: Any, name: str) -> list[str]:
    """A list of at least one name."""
    found = names(value, name)
    if not found:
        raise UsageError(f"{name} is empty: name at least one")
    return found


def flag(value: Any, name: str) -> bool:
    """True or False; a text such as "no" would be taken for True."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {value!r:.40}")
    return value


def call(value: Any, name: str) -> Any:
    """Something that is called, with numbers."""
    if not callable(value):
        raise UsageError(f"{name} must be a function, not {_kind(value)}")
    return value


def path(value: Any, name: str) -> Path:
    """Where a file or folder is, ``~`` as in a shell; a blank would be the current folder."""
    if not isinstance(value, str | os.PathLike) or not str(value).strip() or "\0" in str(value):
        raise UsageError(f"{name} must be a path, not {value!r:.40}")
    return Path(value).expanduser()


def sampling(value: Any, name: str) -> Any:
    """How a reply is chosen, or nothing."""
    if value is not None:
        from tmem.model.request import GenerationConfig

        if not isinstance(value, GenerationConfig):
            raise UsageError(f"{name} must be a tmem.model.request.GenerationConfig, not {_kind(value)}")
        if value.schema is not None:
            from tmem.model.grammar import check_schema

            check_schema(value.schema)
    return value


def count(least: int) -> Check:
    """A whole number from ``least`` on; True and 2.0 are none."""

    def check(value: Any, name: str) -> int:
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number from {least} on, not {value!r:.40}")
        return value

    return check


def version(value: Any, name: str) -> Any:
    """A version's number, id or tag."""
    if isinstance(value, str) or type(value) is int:
        return value
    raise UsageError(f"{name} must be the number, id or tag of a version, not {value!r:.40}")


def version_or_none(value: Any, name: str) -> Any:
    """A version's number, id or tag, or nothing."""
    return None if value is None else version(value, name)


def tag(value: Any, name: str) -> str:
    """A name that is no version's number and no version's id."""
    if not key(value, name).strip():
        raise UsageError(f"{name} is blank: give the version a name")
    if value.strip().isdecimal():
        raise UsageError(f"{name} {value!r} would be taken for a version's number: give it a letter")
    if re.fullmatch(r"v\d+-[0-9a-f]{12}", value.strip()):
        raise UsageError(f"{name} {value!r} would be taken for a version's id: give it another name")
    return str(value)


def pairs(value: Any, name: str) -> list[tuple[str, str]]:
    """Questions with their answers."""
    found = []
    for place, pair in enumerate(several(value, f"{name} must be a list of (question, answer)"), 1):
        if not isinstance(pair, tuple | list) or [isinstance(part, str) for part in pair] != [True, True]:
            raise UsageError(f"pair {place} of {name} must be two texts, (question, answer)")
        found.append((pair[0], pair[1]))
    return found


def metadata(value: Any, name: str) -> dict[str, Any] | None:
    """What JSON can hold and gives back as it was, or nothing."""
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"{name} must be a dict, not {_kind(value)}")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        same = json.loads(text) == value
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not valid Unicode: leave out the half surrogates") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{name} must be what JSON can hold ({error})") from None
    if not same:
        raise UsageError(f"{name} would come back otherwise: its keys must be texts, and what is several a list")
    return value


def messages(value: Any, name: str) -> Any:
    """A message or several; what each must be is said by :func:`tmem.store.results.render`."""
    if isinstance(value, str | Mapping):
        return value
    return several(value, f"{name} must be a text, {{'role': ..., 'content': a text}}, or a list of them")


def several(value: Any, what: str) -> list[Any]:
    """A list of whatever a caller gives several of; a text is one thing."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"{what}, not {_kind(value)}")
    return list(value)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
