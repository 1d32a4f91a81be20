"""Every error that a user can cause: one line that says what is wrong and what to do."""

__all__ = [
    "DataError",
    "DeltaError",
    "Diverged",
    "EngineError",
    "IntegrityError",
    "ModelError",
    "NotFound",
    "ScopeRequired",
    "StoreError",
    "TmemError",
    "UsageError",
    "WriteError",
]


class TmemError(Exception):
    """Base of all errors raised on purpose; the command line prints its text without a traceback."""


class UsageError(TmemError):
    """An option or argument that cannot work (exit code 2 on the command line)."""


class ModelError(TmemError):
    """A model that cannot be loaded, or that fast weights cannot be attached to."""


class DataError(TmemError):
    """A file or record that is missing, malformed or inconsistent."""


class DeltaError(TmemError):
    """A memory that does not fit the model, the basis or the batch it is used with."""


class WriteError(TmemError):
    """A write that was asked for wrongly (a write that fails on its data only reports so in its account)."""


class EngineError(TmemError):
    """An engine elsewhere that cannot be reached, or cannot do what is asked of it."""


class Diverged(TmemError):
    """A training whose loss or weights are not finite any more."""


class StoreError(TmemError):
    """A home that cannot be read or written; what it held before is still there."""


class ScopeRequired(UsageError):
    """A call that does not say whose memory it is about."""


class NotFound(UsageError):
    """An id, a version or a tag that this memory does not have."""


class IntegrityError(StoreError):
    """Stored weights that are not what the ledger says; they are never loaded."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line: its first, with the next one where it ends with a colon."""
    said, lines = list[str](), str(error).strip().splitlines() or [type(error).__name__]
    while lines and (not said or said[-1].endswith(":")):
        said.append(lines.pop(0).strip())
    return " ".join(said)
