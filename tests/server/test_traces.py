"""Spans by OpenTelemetry's conventions: what a request and an answer took, and nothing that was said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from server.serving import Server

from tmem.errors import UsageError
from tmem.server import traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that gives the spans which have ended, by name."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(traces, "_tracer", provider.get_tracer("tmem"))

    def ended() -> dict[str, Any]:
        found = {span.name: span for span in kept.get_finished_spans()}
        kept.clear()
        return found

    return ended


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_has_a_span_in_the_callers_trace(make: Callable[..., Server], spans: Any, stream: bool) -> None:
    server = make(converses=True)
    body = {"model": "fake", "messages": [{"role": "user", "content": "Tell me of Secretville."}], "user": "ana"}
    body |= {"stream": stream, "max_tokens": 3, "temperature": 0.5}
    server.ask("POST", "/v1/chat/completions", json=body, headers={"traceparent": PARENT})
    found = spans()
    request, answer = found["POST /v1/chat/completions"], found["chat fake"]
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1] and answer.parent == request.context
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
    }
    assert dict(answer.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tmem",
        "gen_ai.request.model": "fake",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 0,
        "gen_ai.request.max_tokens": 3,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "fake",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 3,
        "tmem.source": "base" if server.memory.scope(user_id="ana").by_pairs else "weights",
    }


def test_calls_on_a_memory_have_the_conventions_names_and_nothing_that_was_said(server: Server, spans: Any) -> None:
    told = {"pairs": [{"question": "Where does Ana live?", "answer": "Secretville"}], "user_id": "ana"}
    [pair] = server.ask("POST", "/v1/memories", json=told).json()["pairs"]
    server.ask("POST", "/v1/search", json={"query": "Secretville", "user_id": "ana"})
    server.ask("DELETE", f"/v1/memories/{pair['id']}", headers={"X-Tmem-User": "ana"})
    server.ask("GET", "/v1/memories/never", headers={"X-Tmem-User": "ana"})
    server.ask("POST", "/v1/ask", json={"question": "What breaks?"}, headers={"X-Tmem-User": "ana"})
    found = spans()
    assert {name for name in found if " " not in name} == {"create_memory", "search_memory", "delete_memory"}
    assert found["DELETE /v1/memories/{pair}"].attributes["http.response.status_code"] == 200
    assert found["search_memory"].attributes["error.type"] == "NotFound"  # the last one
    assert found["POST /v1/ask"].attributes["error.type"] == "500" and not found["POST /v1/ask"].status.is_ok
    text = "".join(span.to_json() for span in found.values())
    assert all(secret not in text for secret in ("Secretville", "ana", pair["id"], "never", "secret of the inside"))


def test_an_answer_that_goes_wrong_says_how(server: Server, spans: Any) -> None:
    server.chat("What breaks?", user="ana")
    span = spans()["chat fake"]
    assert span.attributes["error.type"] == "RuntimeError" and "secret" not in span.to_json() and not span.events


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    traces.start()  # nothing is sent, and nothing needed
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UsageError, match=r"pip install 'tmem\[otel\]'"):
        traces.start()
