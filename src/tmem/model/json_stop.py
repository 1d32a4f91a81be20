"""Noticing, token by token, that the JSON array a model is writing is complete, or that nothing new comes any more."""

from __future__ import annotations


class JsonStop:
    """Watches a text that arrives in pieces until its first array has found its ``]``, or an object comes again.

    A model that writes the same object twice is in a loop, and would go on to the end of its room. An array begins with
    a ``[`` before ``[``, ``{``, ``"`` or ``]``: "[1]" is prose, and ignored. From there on, brackets inside strings do
    not count, and a quote after a backslash does not end a string. An array within a ``<think>`` block is a draft.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._opened = False  # the outermost "[" came, and only white space since
        self._in_string = False
        self._escaped = False
        self._thinks = False
        self._tail = ""  # of the text outside of arrays
        self._braces = 0
        self._object = ""  # since its "{"
        self._objects = set[str]()

    def feed(self, piece: str) -> bool:
        """Take the next piece of text; True if the array closes or repeats itself within it."""
        for char in piece:
            if not self._depth or self._thinks:
                self._tail = (self._tail + char)[-len("</think>") :]
                self._thinks = (self._thinks and self._tail != "</think>") or self._tail.endswith("<think>")
            if self._thinks:
                continue
            if self._braces:
                self._object += char
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
                self._object = self._object if self._braces else ""
                self._braces += 1
            elif self._depth and char == "}":
                self._braces -= 1
                if self._braces == 0:
                    if self._object in self._objects:
                        return True
                    self._objects.add(self._object)
        return False
