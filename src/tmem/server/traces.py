"""Spans of OpenTelemetry: one for each request, one for each answer or memory call in it.

By the conventions for generative models (https://opentelemetry.io/docs/specs/semconv/gen-ai/). None of them has
anything that was said, or says whose memory it was. They go nowhere unless the environment says where
(``OTEL_EXPORTER_OTLP_ENDPOINT``) and the extra ``otel`` is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from tmem.errors import UsageError
from tmem.model.request import GenerationConfig

PROVIDER = "tmem"
# What the conventions call what a route does; other routes are known by their request alone.
OPERATIONS = {
    "add": "create_memory",
    "update": "update_memory",
    **dict.fromkeys(("delete", "delete_all", "forget", "reset"), "delete_memory"),
    **dict.fromkeys(("search", "get", "get_all"), "search_memory"),
}
QUIET: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}  # with what an error says
_tracer = trace.get_tracer("tmem")


def start() -> None:
    """Send spans where the environment says. Raises :class:`UsageError` if it does, and the extra is missing."""
    if not any(os.environ.get(f"OTEL_EXPORTER_OTLP_{of}ENDPOINT") for of in ("", "TRACES_")):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need the extra otel ({error.name}): "
            "pip install 'tmem[otel]'"
        ) from None
    named = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: PROVIDER})
    provider = TracerProvider(resource=named)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Send what has not been sent yet."""
    send = getattr(trace.get_tracer_provider(), "force_flush", None)  # the one of a server that sends nothing has none
    if send is not None:
        send()


@contextmanager
def of_request(method: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """A request's span, a part of the trace that its headers name."""
    with _tracer.start_as_current_span(
        method, extract(headers), SpanKind.SERVER, {"http.request.method": method}, **QUIET
    ) as span:
        yield span


def answered(span: Span, method: str, route: str, status: int) -> None:
    """What became of a request; ``route``: its template, never a path with ids."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        failed(span, str(status))


def of_answer(model: str, sampling: GenerationConfig) -> Span:
    """An answer's span, to be ended by who made it."""
    asked: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.output.type": "text" if sampling.schema is None else "json",
    }
    if sampling.max_new_tokens is not None:
        asked["gen_ai.request.max_tokens"] = sampling.max_new_tokens
    return _tracer.start_span(f"chat {model}", kind=SpanKind.INTERNAL, attributes=asked)


def said(span: Span, model: str, finish: str, read: int, answered: int, source: str) -> None:
    """What an answer was: tokens, why it ended, and what it is from."""
    facts: dict[str, Any] = {"gen_ai.response.model": model, "gen_ai.response.finish_reasons": [finish]}
    facts |= {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": answered, "tmem.source": source}
    span.set_attributes(facts)


def failed(span: Span, what: str) -> None:
    """``what``: a status or the kind of an error; its text may be somebody's words."""
    span.set_attribute("error.type", what)
    span.set_status(Status(StatusCode.ERROR))


@contextmanager
def of_call(route: str) -> Iterator[None]:
    """The span of a call on a memory, where the conventions have a name for what the route does."""
    if route not in OPERATIONS:
        yield
        return
    facts = {"gen_ai.operation.name": OPERATIONS[route], "gen_ai.provider.name": PROVIDER}
    with _tracer.start_as_current_span(OPERATIONS[route], kind=SpanKind.INTERNAL, attributes=facts, **QUIET) as span:
        try:
            yield
        except BaseException as error:
            failed(span, type(error).__name__)
            raise
