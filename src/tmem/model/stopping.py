"""Where a text ends: token by token, whoever generates it."""

from __future__ import annotations

from tmem.model.json_stop import JsonStop
from tmem.model.load import Model
from tmem.model.request import Finish, Request

HALF = "\ufffd"  # what a part of a character is decoded as
PARTS = 4  # tokens that one character can be cut into: its bytes


class Ending:
    """Watches one text for what ends it: an end-of-turn token, a closed array, a stop text, its limit."""

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request = model, request
        self._json = JsonStop() if request.stop == "json" else None
        self._longest = max(map(len, request.stop_texts), default=0)
        self._tail = ""  # the last characters, as far as a stop text needs them
        self._count = 0
        self._new: list[int] = []  # the newest tokens, while they are a part of a character
        self._before: list[int] = []  # those before them, and their text on its own
        self._before_text = ""

    def after(self, token: int) -> Finish | None:
        """Take the next token; how the text ends with it, None if it goes on."""
        self._count += 1
        if token in self.model.stop_ids:
            return "stop"
        added = self._added(token) if self._json is not None or self._longest else ""
        if self._json is not None and self._json.feed(added):
            return "json"
        if self._longest:
            self._tail += added
            if any(stop in self._tail for stop in self.request.stop_texts):
                return "text"
            self._tail = self._tail[-self._longest :]
        return "length" if self._count == self.request.max_new_tokens else None

    def _added(self, token: int) -> str:
        """What a token adds to the text; nothing until the character that it is a part of is whole."""
        self._new.append(token)
        ids = [*self._before, *self._new]
        text = self.model.piece(token) if ids == [token] else self.model.decode(ids)
        if text.endswith(HALF) and len(self._new) < PARTS:
            return ""
        added = text[len(self._before_text) :]
        if self._longest:  # some tokenizers leave out the space before a token on its own, which JSON can do without
            self._before, self._before_text = self._new, self.model.decode(self._new)
        self._new = []
        return added


def shown_text(model: Model, request: Request, ids: list[int], finish: Finish) -> str:
    """The text of a completion, without the token that ended the turn and what came behind a stop text."""
    text = model.decode(ids[:-1] if finish == "stop" else ids)
    if finish == "text":  # the last token may hold more than the stop text
        text = text[: max(text.rfind(stop) + len(stop) for stop in request.stop_texts if stop in text)]
    return text
