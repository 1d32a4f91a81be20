"""Connecting to a server that is named by a URL. No error repeats a password or a key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from tmem.errors import UsageError, first_line


@dataclass(frozen=True)
class Connection:
    """``client``: httpx's, which sends the key. ``url``: as it was given, without a slash at its end."""

    client: Any
    url: str
    key: str = field(repr=False)

    def line(self, text: str, most: int = 200) -> str:
        """Text of a server for an error: one short line without the key, which some servers repeat."""
        text = " ".join(text.split())
        return (text.replace(self.key, "***") if self.key else text)[:most]


def connect(
    url: str, key: str | None, variable: str, timeout: float, *, what: str, example: str, extra: str, at_once: int = 100
) -> Connection:
    """Connections to the server at ``url``, up to ``at_once``; nothing is sent yet.

    ``key``: by default the environment's ``variable``, if set. ``what`` it is, as "an engine", an ``example`` of its
    URL and the ``extra`` that it needs are said in errors. Raises :class:`UsageError` for a URL, key or proxy that
    cannot work, and without httpx.
    """
    try:
        import httpx
    except ImportError:
        raise UsageError(f"{what} needs the extra {extra}: pip install 'tmem[{extra}]'") from None
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.userinfo or "@" in url.partition("?")[0]:  # it would be in every error and report
        raise UsageError(f"the URL of {what} holds a name or password; remove it and set {variable}")
    if address.scheme not in ("http", "https") or not address.host:
        raise UsageError(f"{url!r} is not the URL of {what}; it looks like {example}")
    key = (os.environ.get(variable, "") if key is None else key).strip()
    if not re.fullmatch("[!-~]*", key):  # an error of the client would show it
        raise UsageError(f"{variable} has characters that no key has; copy it again")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        client = httpx.Client(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=at_once))
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise UsageError(
            f"the proxy that ALL_PROXY, HTTP_PROXY or HTTPS_PROXY names cannot be used ({first_line(error)}): for "
            "socks5:// pip install 'httpx[socks]'; for none, unset it"
        ) from None
    return Connection(client, url.rstrip("/"), key)
