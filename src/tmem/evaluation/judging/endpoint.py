"""A chat model behind an OpenAI-compatible address, as a judge is asked: one prompt, one reply.

A run of thousands of calls meets rate limits and restarts; they are waited out, but not by every call anew when the
server stays away. What cannot get better with time, such as a wrong key, is an error at once.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from tmem.connect import connect
from tmem.errors import TmemError
from tmem.files import without_surrogates
from tmem.texts import said

LIMITS = ("max_tokens", "max_completion_tokens")  # two names of one thing: the first that a model takes is said
# How servers say that they do not know a part of a call, or take none but their own value; OpenAI's have a code, too.
_CODES = ("unsupported_parameter", "unsupported_value", "unknown_parameter")
_UNTAKEN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|not (?:supported|allowed|permitted|recogni[sz]ed)|"
    r"does not support|extra (?:inputs|fields)|only the default|strictly positive|greater than 0\b",
    re.IGNORECASE,
)
LONGEST_WAIT = 120.0  # seconds between two tries, whatever a server asks for
ADVICE = {
    401: "set TMEM_JUDGE_KEY to a valid key",
    403: "set TMEM_JUDGE_KEY to a key that may use this model",
    404: "check the model's name and the URL, which ends in /v1 as a rule",
}


class EndpointError(TmemError):
    """An endpoint that cannot be reached, refuses a call or gives no reply."""


class RefusedError(EndpointError):
    """What no waiting mends: a wrong host name, URL, key or model, or a call that the server does not take."""


class Endpoint:
    """A model at ``url`` (as ``http://127.0.0.1:8000/v1``). May be used by several threads at once."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        timeout: float = 120.0,
        tries: int = 6,
        patience: int = 3,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``key``: by default the environment variable TMEM_JUDGE_KEY, if set. ``timeout``: seconds without an answer.

        ``patience``: after so many calls in a row that failed in all their ``tries``, others fail without being made.
        ``sleep`` waits between tries. Raises :class:`UsageError` for a URL or key that cannot work, and without httpx.
        """
        self._connection = connect(
            url,
            key,
            "TMEM_JUDGE_KEY",
            timeout,
            what="an endpoint",
            example="http://127.0.0.1:8000/v1",
            extra="eval",
        )
        self.url = self._connection.url + "/chat/completions"
        self.model, self.timeout, self.tries = model, timeout, tries
        self.patience = patience
        self._sleep = sleep
        self._lock = threading.Lock()
        self._failed, self._problem = 0, ""  # calls in a row, and what the last of them met
        self._reached = False
        self.refused: set[str] = set()  # what of a call this model does not take: some of LIMITS, temperature

    def close(self) -> None:
        """Close the connections."""
        self._connection.client.close()

    def check(self, max_tokens: int | None = None, temperature: float | None = None) -> str:
        """Ask once, so that a run with a wrong URL, key or model ends before it begins.

        The limits are those of the calls to come. Returns what else is odd, such as a server that is down or a reply
        that was not asked for, "" if nothing is. Raises :class:`RefusedError`.
        """
        try:
            reply = self.ask("Answer with the word yes and nothing else.", max_tokens, temperature)
        except RefusedError:
            raise
        except EndpointError as error:
            return str(error)
        if re.match(r"\W*yes\b", said(reply), re.IGNORECASE):
            return ""
        more = "" if max_tokens is None else f" or allow more than {max_tokens} new tokens"
        line = self._connection.line(reply)
        return (
            f"{self.url}: asked to say yes, {self.model} says {line!r}; if it thinks before it answers, "
            f"turn that off{more}"
        )

    def ask(self, prompt: str, max_tokens: int | None = None, temperature: float | None = None) -> str:
        """The reply to one user message; None leaves a limit to the server.

        Tried again with growing pauses (or the server's Retry-After) after a timeout, a lost connection, HTTP 408, 429
        or 5xx, and a body without a reply. Raises :class:`EndpointError` after the last try, or at once where too many
        calls in a row have failed already, and :class:`RefusedError` at once for other errors.
        """
        import httpx

        problem = ""
        wait = 0.0
        for number in range(self.tries):
            if self._failed >= self.patience:
                raise EndpointError(f"{self.url}: not asked, {self._failed} calls in a row failed: {self._problem}")
            if number:
                self._sleep(min(wait, LONGEST_WAIT))
            wait = 2.0**number
            try:
                response, body = self._post(prompt, max_tokens, temperature)
            except httpx.TimeoutException:
                problem = f"no answer within {self.timeout:g} s"
                continue
            except httpx.RequestError as error:
                problem = f"cannot be reached ({self._connection.line(str(error)) or type(error).__name__})"
                if not self._reached and _is_misnamed(error):
                    raise RefusedError(f"{self.url}: {problem}; check the URL") from None
                continue
            self._reached = True
            if response.status_code == 200:
                message, cut_off = _message(body)
                text = None if message is None else _text(message)
                if text is not None and not (cut_off and not text):
                    self._failed = 0
                    return text
                if cut_off:  # before it began
                    self._failed = 0
                    raise RefusedError(
                        f"{self.url}: {self.model} came to no reply within its tokens, it thinks before it answers; "
                        "turn that off or allow more new tokens"
                    )
                if message is not None:  # another try would get the same
                    self._failed = 0
                    raise EndpointError(f"{self.url}: a reply without text: {self._connection.line(response.text)}")
                problem = f"no reply in what it sent: {self._connection.line(response.text)}"
                continue
            problem = f"HTTP {response.status_code}: {self._connection.line(response.text)}"
            if response.status_code not in (408, 429) and response.status_code < 500:
                self._failed = 0
                raise RefusedError(f"{self.url}: {problem}; {ADVICE.get(response.status_code, 'correct the call')}")
            wait = _retry_after(response.headers.get("Retry-After", "")) or wait
        with self._lock:
            self._failed, self._problem = self._failed + 1, problem
        raise EndpointError(
            f"{self.url}: {problem} (try {self.tries} of {self.tries}); see that the server is up and has room"
        )

    def _post(self, prompt: str, max_tokens: int | None, temperature: float | None) -> tuple[Any, Any]:
        """The response to a call and what its body says, None if that is no JSON.

        The call is made again without what of it the model says that it does not take.
        """
        while True:
            body: dict[str, Any] = {
                "model": self.model,
                "messages": [{"role": "user", "content": without_surrogates(prompt)}],
            }
            limit = next((name for name in LIMITS if name not in self.refused), None)
            if max_tokens is not None and limit is not None:
                body[limit] = max_tokens
            if temperature is not None and "temperature" not in self.refused:
                body["temperature"] = temperature
            response = self._connection.client.post(self.url, json=body)
            try:
                said = response.json()
            except (ValueError, RecursionError):
                said = None
            name = _not_taken(said, body) if response.status_code in (400, 422) else None
            if name is None:
                return response, said
            self.refused.add(name)


def _message(body: Any) -> tuple[dict[str, Any] | None, bool]:
    """The message of a chat completion, None if there is none; and True if it was cut off at its limit."""
    try:
        choice = body["choices"][0]
        message, cut_off = choice["message"], choice.get("finish_reason") == "length"
    except (LookupError, TypeError, AttributeError):
        return None, False
    return (message, cut_off) if isinstance(message, dict) else (None, False)


def _text(message: dict[str, Any]) -> str | None:
    """What a message says, without thoughts that are parts of their own; None for nothing."""
    text = message.get("content")
    if isinstance(text, list):
        parts = [part for part in text if isinstance(part, dict) and part.get("type") == "text"]
        text = "".join(part["text"] for part in parts if isinstance(part.get("text"), str)) if parts else None
    return without_surrogates(text) if isinstance(text, str) else None


def _not_taken(body: Any, sent: Collection[str]) -> str | None:
    """The name of what of a call a model does not take, as its error says; None for all other errors."""
    error = body.get("error", body) if isinstance(body, dict) else body
    about = error if isinstance(error, dict) else {}
    text = error if isinstance(error, str) else json.dumps(error)
    if about.get("code") in _CODES and about.get("param") in sent:
        return str(about["param"])
    if not _UNTAKEN.search(text):
        return None
    return next((name for name in (*LIMITS, "temperature") if name in sent and re.search(rf"\b{name}\b", text)), None)


def _is_misnamed(error: BaseException | None) -> bool:
    """True if there is no such host, or it does not speak TLS or is not the one that its certificate names."""
    while error is not None:
        if isinstance(error, socket.gaierror | ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _retry_after(value: str) -> float | None:
    """The seconds a server asks to wait; None if it names none (or a date)."""
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value.strip()) else None
