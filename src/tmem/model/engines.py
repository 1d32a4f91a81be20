"""Which engine generates, as it is named on the command line."""

from __future__ import annotations

from pathlib import Path

from tmem.errors import EngineError, UsageError
from tmem.model.llamacpp import LlamaCpp
from tmem.model.load import Model
from tmem.model.served import ServedEngine, Server
from tmem.model.servers import Client, LlamaServer, VllmServer
from tmem.model.to_gguf import type_named


def open_engine(model: Model, where: str) -> ServedEngine:
    """``llamacpp``, ``llamacpp:q8_0`` (a type), ``llamacpp:FILE.gguf``, or the URL of a server.

    Raises :class:`UsageError` for anything else, and :class:`EngineError` where another model is served.
    """
    if "://" in where:
        engine = ServedEngine(model, server_at(where))
        engine.check_base()
        return engine
    kind, _, base = where.partition(":")
    if kind != "llamacpp":
        raise UsageError(f"there is no engine {where!r}: give llamacpp, llamacpp:q8_0, llamacpp:FILE.gguf or a URL")
    own = Path(base) if base.endswith(".gguf") else type_named(base) if base else None
    return ServedEngine(model, LlamaCpp(model, own))


def server_at(url: str) -> Server:
    """The engine behind a URL. Raises :class:`EngineError` for one of another kind."""
    client = Client(url)
    props = client.get("/props")
    if isinstance(props, dict) and "default_generation_settings" in props:
        return LlamaServer(client)
    if client.get("/v1/models") is None:
        raise EngineError(f"{client.url}: neither llama.cpp's server nor one with OpenAI's routes (/v1/models)")
    return VllmServer(client)
