"""What Open WebUI and LibreChat send, as they send it: answered, for the right user, and seldom learned."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server.serving import Server

# Open WebUI (0.6): an answer is asked for with this body; its templates fill the headers of a connection.
WEBUI = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": "Where does Ana live?"}]}
WEBUI_HEADERS = {
    "X-Tmem-User": "6f2b6f1c-2f0e-4c53-9a51-0c6d2f1f3a10",  # {{USER_ID}}
    "X-Tmem-Task": "",  # {{TASK}}
    "X-Tmem-Learn": "true",
    "X-OpenWebUI-User-Name": "Ana",
    "X-OpenWebUI-User-Id": "6f2b6f1c-2f0e-4c53-9a51-0c6d2f1f3a10",
    "X-OpenWebUI-User-Email": "ana@example.org",
    "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Chat-Id": "0b1c9f5e-1f3a-4c0e-8a53-8d1d2b7f4e6a",
}
WEBUI_TASKS = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Chat History:\n",
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.\n### Chat History:\n",
    "### Task:\nSuggest 3-5 relevant follow-up questions that the user might naturally ask next.\n### Chat History:\n",
    "### Task:\nYou are an autocompletion system. Continue the text in `<text>` based on the completion type.\n",
]
# LibreChat (0.8): the user is in the body, 24 signs of a database; the conversation is sent whole.
LIBRECHAT = {
    "model": "fake",
    "user": "69f86488d98fee9e8b8d0452",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "I live in Lyon."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": [{"type": "text", "text": "Where does Ana live?"}]},
    ],
}
LIBRECHAT_TITLES = [
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise title in the "
    'detected language (5 words or less, no punctuation or quotation)\n\nUser: Ana said, "I live in Lyon."',
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the title "
    'itself.\n\nConversation:\nUser: Ana said, "I live in Lyon."\nAI: Noted.',
    "Please generate a concise, 5-word-or-less title for the conversation, using its same language, with no "
    'punctuation.\n\nUser: Ana said, "I live in Lyon."',
]


def said(reply: Any) -> str:
    """What was streamed."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream") and reply.text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    return "".join(one["choices"][0]["delta"].get("content", "") for one in chunks if one["choices"])


def chat(server: Server, key: str, body: Any, **headers: str) -> Any:
    return server.ask("POST", "/v1/chat/completions", key, json=body, headers=headers)


def test_open_webui(server: Server) -> None:
    key, user = server.keys.make("open-webui", None), WEBUI_HEADERS["X-Tmem-User"]
    memory = server.memory.scope(user_id=user)
    told = {**WEBUI, "messages": [{"role": "user", "content": 'Ana said, "I live in Lyon."'}]}
    said(chat(server, key, told, **WEBUI_HEADERS))
    assert [row["answer"] for row in memory.get_all(status=None)] == ["Lyon"]
    assert said(chat(server, key, WEBUI, **WEBUI_HEADERS)) == "Lyon"
    assert server.ask("GET", "/v1/models", key).json()["data"][0]["id"] == "fake"
    other = {**WEBUI_HEADERS, "X-Tmem-User": "another"}
    assert said(chat(server, key, WEBUI, **other)) != "Lyon"


@pytest.mark.parametrize("prompt", WEBUI_TASKS)
@pytest.mark.parametrize("template", ["", "{{TASK}}", "title_generation"])
def test_open_webui_asks_on_its_own_account(server: Server, prompt: str, template: str) -> None:
    """Never learned, whether or not the header's template was filled."""
    key = server.keys.make("open-webui", None)
    content = f'{prompt}<chat_history>\nUSER: Ana said, "I live in Lyon."\n</chat_history>'
    body = {"model": "fake", "stream": False, "messages": [{"role": "user", "content": content}]}
    reply = chat(server, key, {**body, "max_completion_tokens": 1000}, **(WEBUI_HEADERS | {"X-Tmem-Task": template}))
    assert reply.status_code == 200, reply.text
    assert not server.memory.scope(user_id=WEBUI_HEADERS["X-Tmem-User"]).known


def test_librechat(server: Server) -> None:
    key, user = server.keys.make("librechat", None), str(LIBRECHAT["user"])
    server.memory.scope(user_id=user).add(pairs=[("Where does Ana live?", "Lyon")])
    assert said(chat(server, key, LIBRECHAT, **{"X-Tmem-Learn": "true"})) == "Lyon"
    assert said(chat(server, key, {**LIBRECHAT, "user": "0" * 24})) != "Lyon"
    bound = server.keys.make("librechat for ana", "ana")
    assert chat(server, bound, LIBRECHAT).status_code == 403


@pytest.mark.parametrize("prompt", LIBRECHAT_TITLES)
def test_librechat_asks_for_titles(server: Server, prompt: str) -> None:
    key = server.keys.make("librechat", None)
    body = {**LIBRECHAT, "stream": False, "stream_options": None, "messages": [{"role": "user", "content": prompt}]}
    assert chat(server, key, body, **{"X-Tmem-Learn": "true"}).status_code == 200
    assert not server.memory.scope(user_id=str(LIBRECHAT["user"])).known
