"""The memory of one scope, with what callers give looked at first."""

from __future__ import annotations

from pathlib import Path

from tmem.errors import UsageError
from tmem.store import validation
from tmem.store.scoped import ScopedMemory
from tmem.store.validation import checked


class CheckedMemory(ScopedMemory):
    """The memory of one scope as callers get it: what they give is looked at before anything is done with it."""

    add = checked(
        ScopedMemory.add,
        messages=validation.messages,
        pairs=validation.pairs,
        timestamp=validation.when,
        metadata=validation.metadata,
        infer=validation.flag,
        absorb=validation.flag,
        roles=validation.some,
        context=validation.text,
        progress=validation.call,
    )
    ask = checked(
        ScopedMemory.ask, question=validation.text, version=validation.version_or_none, show_pairs=validation.count(0)
    )
    chat = checked(
        ScopedMemory.chat,
        messages=validation.messages,
        name=validation.text_or_none,
        timestamp=validation.when,
        learn=validation.flag,
        sampling=validation.sampling,
        documents=validation.names,
    )
    learn = checked(
        ScopedMemory.learn,
        messages=validation.messages,
        name=validation.text_or_none,
        timestamp=validation.when,
        absorb=validation.flag,
    )
    update = checked(ScopedMemory.update, pair_id=validation.key, answer=validation.text)
    forget = checked(ScopedMemory.forget, ids=validation.keys)
    rollback = checked(ScopedMemory.rollback, version=validation.version)
    tag = checked(ScopedMemory.tag, version=validation.version, name=validation.tag)
    diff = checked(ScopedMemory.diff, first=validation.version, second=validation.version)
    get = checked(ScopedMemory.get, pair_id=validation.key)
    get_all = checked(ScopedMemory.get_all, status=validation.key_or_none)
    search = checked(ScopedMemory.search, query=validation.text, top_k=validation.count(1))
    why = checked(ScopedMemory.why, question=validation.text, answer=validation.text_or_none, most=validation.count(1))
    verify = checked(ScopedMemory.verify, deep=validation.flag)
    rebuild = checked(ScopedMemory.rebuild, adopt=validation.flag)
    save_pretrained = checked(ScopedMemory.save_pretrained, folder=validation.path, version=validation.version_or_none)
    import_ = checked(ScopedMemory.import_, path=validation.path)

    def export(
        self,
        path: str | Path,
        *,
        format: str = "ledger",
        version: str | int | None = None,
        base: str | None = None,
    ) -> int:
        """Take a version elsewhere: as JSON lines for :meth:`import_`, or as the methods below do.

        ``format``: ledger, peft (:meth:`save_pretrained`) or gguf (:meth:`save_gguf`, which takes ``base``). Returns
        the number of steps of the version.
        """
        path = validation.path(path, "path")
        validation.version_or_none(version, "version")
        if format not in ("ledger", "peft", "gguf"):
            raise UsageError(f"there is no format {format!r} to export: choose ledger, peft or gguf")
        if base is not None and format != "gguf":
            raise UsageError(f"base: only gguf is exported with its base, not {format}")
        if format == "ledger":
            return super().export(path, version=version)
        number = self.home.head(self.id) if version is None else self._number(version)
        if format == "peft":
            self.save_pretrained(path, version=number)
        else:
            self.save_gguf(path, version=number, base=base)
        return len(self.home.history(self.id, number))
