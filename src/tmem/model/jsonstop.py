"""Noticing, token by token, that the JSON array a model is writing is complete."""

from __future__ import annotations


class JsonStop:
    """Watches a text that arrives in pieces until its first array has found its ``]``.

    An array begins with a ``[`` before ``[``, ``{``, ``"`` or ``]``: "[1]" is prose, and ignored. From there on,
    brackets inside strings do not count, and a quote after a backslash does not end a string. Braces need no
    counting: it is the array that has to close. An array within a ``<think>`` block is a draft.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._opened = False  # the outermost "[" came, and only white space since
        self._in_string = False
        self._escaped = False
        self._thinks = False
        self._tail = ""  # of the text outside of arrays

    def feed(self, piece: str) -> bool:
        """Take the next piece of text; True if the array closes within it."""
        for char in piece:
            if not self._depth or self._thinks:
                self._tail = (self._tail + char)[-len("</think>") :]
                self._thinks = (self._thinks and self._tail != "</think>") or self._tail.endswith("<think>")
            if self._thinks:
                continue
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                if char == "\\":
                    self._escaped = True
                elif char == '"':
                    self._in_string = False
            elif self._opened and not char.isspace() and char not in '[{"]':
                self._opened, self._depth = False, 0  # it was prose
            elif char == "[":
                self._opened = self._depth == 0
                self._depth += 1
            elif self._depth and char == '"':
                self._opened, self._in_string = False, True
            elif self._depth and char == "]":
                self._depth -= 1
                if self._depth == 0:
                    return True
            elif self._depth and char == "{":
                self._opened = False
        return False
