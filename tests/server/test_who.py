"""Whose memory: no key, a wrong one, a revoked one, another's; and nobody learns who else there is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from server.serving import Server

from tmem.server.middleware import OPEN

ROUTES = [
    ("POST", "/v1/chat/completions", {"model": "fake", "messages": [{"role": "user", "content": "Who?"}]}),
    ("POST", "/v1/responses", {"model": "fake", "input": "Who?"}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/fake", None),
    ("POST", "/v1/memories", {"messages": "x"}),
    ("GET", "/v1/memories", None),
    ("DELETE", "/v1/memories", None),
    ("POST", "/v1/memories/search", {"query": "x"}),
    ("GET", "/v1/memories/{id}", None),
    ("PUT", "/v1/memories/{id}", {"answer": "x"}),
    ("DELETE", "/v1/memories/{id}", None),
    ("GET", "/v1/memories/{id}/history", None),
    ("POST", "/v1/ask", {"question": "Who?"}),
    ("GET", "/v1/versions", None),
    ("GET", "/v1/diff?first=1&second=2", None),
    ("GET", "/v1/growth", None),
    ("POST", "/v1/rollback", {"version": 1}),
    ("POST", "/v1/tag", {"version": 1, "name": "x"}),
    ("GET", "/v1/verify", None),
    ("GET", "/v1/stats", None),
    ("POST", "/v1/search", {"query": "x"}),
    ("POST", "/v1/forget", {"ids": ["{id}"]}),
    ("POST", "/v1/reset", None),
    ("GET", "/v1/why?question=Who", None),
    ("GET", "/v1/export", None),
    ("GET", "/nowhere", None),
]
OF_A_PAIR = [route for route in ROUTES if "{id}" in str(route)]


def of(pair: str, path: str, body: Any) -> tuple[str, Any]:
    """A route's path and body for one pair."""
    return path.replace("{id}", pair), json.loads(json.dumps(body).replace("{id}", pair))


def test_the_routes_tried_here_are_all_that_there_are(server: Server) -> None:
    document = server.ask("GET", "/openapi.json").json()
    there = {(method.upper(), path) for path, item in document["paths"].items() for method in item if path not in OPEN}
    names = {"{id}": "{pair}", "/v1/models/fake": "/v1/models/{name}"}
    tried = set()
    for method, path, _ in ROUTES:
        for one, other in names.items():
            path = path.replace(one, other)
        tried.add((method, path.partition("?")[0]))
    assert tried - {("GET", "/nowhere")} == there - {("GET", "/metrics")}


def told(server: Server, key: str | None, place: str, **more: Any) -> str:
    """The id of the pair that says where Ana lives."""
    message = {"role": "user", "content": f"I live in {place}.", "name": "Ana"}
    reply = server.ask("POST", "/v1/memories", key, json={"messages": [message]}, **more)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["pairs"][0]["id"])


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_without_a_valid_key_every_route_says_the_same(server: Server, method: str, path: str, body: Any) -> None:
    ana, revoked = server.keys.make("ana", "ana"), server.keys.make("old", "ana")
    server.keys.revoke("old")
    path, body = of("0" * 32, path, body)
    replies = [server.ask(method, path, key, json=body) for key in (None, "tmem-wrong", revoked, ana[:-1])]
    assert [reply.status_code for reply in replies] == [401] * 4
    assert len({reply.text for reply in replies}) == 1
    assert replies[0].headers["www-authenticate"] == "Bearer"
    assert server.ask(method, path, ana, json=body).status_code != 401


@pytest.mark.parametrize(("method", "path", "body"), OF_A_PAIR)
def test_ids_of_others_and_ids_that_there_are_not_answer_alike(
    server: Server, method: str, path: str, body: Any
) -> None:
    ana, ben = server.keys.make("ana", "ana"), server.keys.make("ben", "ben")
    own = told(server, ana, "Lyon")
    nobody = "0" * 32
    for prepared in (False, True):  # a user who never told anything, and one who did
        if prepared:
            told(server, ben, "Oslo")
        replies = []
        for one in (own, nobody):
            address, sent = of(one, path, body)
            replies.append(server.ask(method, address, ben, json=sent))
        assert [reply.status_code for reply in replies] == [404, 404]
        assert replies[0].text.replace(own, nobody) == replies[1].text
    assert server.ask("GET", f"/v1/memories/{own}", ana).json()["answer"] == "Lyon"


def test_a_key_of_one_user_never_speaks_for_another(server: Server) -> None:
    ana = server.keys.make("ana", "ana")
    ben = server.keys.make("ben", "ben")
    told(server, ana, "Lyon")
    ways: list[dict[str, Any]] = [{"headers": {"X-Tmem-User": "{}"}}, {"params": {"user_id": "{}"}}]
    for way in ways:
        for method, path, body in ROUTES:
            if path.startswith("/v1/models") or path == "/nowhere":
                continue
            replies = []
            for name in ("ana", "nobody-of-that-name"):
                filled = {kind: {key: value.format(name) for key, value in own.items()} for kind, own in way.items()}
                address, _, question = path.replace("{id}", "0" * 32).partition("?")
                if question:
                    filled["params"] = dict(parse_qsl(question)) | filled.get("params", {})
                replies.append(server.ask(method, address, ben, json=body, **filled))
            assert [reply.status_code for reply in replies] == [403, 403], (method, path)
            assert replies[0].text == replies[1].text
    for named in ({"user": "ana"}, {"metadata": {"user_id": "ana"}}):
        assert server.chat("Where does Ana live?", ben, **named).status_code == 403
    assert server.chat("Where does Ana live?", ben, user="ben").status_code == 200


def test_an_application_names_its_users_in_the_order_of_trust(server: Server) -> None:
    app = server.keys.make("app", None)
    for name, place in (("a", "Aden"), ("b", "Bern"), ("c", "Cork"), ("d", "Dover"), ("e", "Esch")):
        told(server, app, place, headers={"X-Tmem-User": name})
    ask = {"model": "fake", "messages": [{"role": "user", "content": "Where does Ana live?"}]}
    names: list[tuple[str, Any]] = [
        ("Dover", {"metadata": {"user_id": "d"}}),
        ("Cork", {"user": "c"}),
    ]
    body: dict[str, Any] = dict(ask)
    for place, more in names:
        body |= more
        said = server.ask("POST", "/v1/chat/completions", app, json=body).json()
        assert said["choices"][0]["message"]["content"] == place
    said = server.ask("POST", "/v1/chat/completions?user_id=b", app, json=body).json()
    assert said["choices"][0]["message"]["content"] == "Bern"
    said = server.ask("POST", "/v1/chat/completions?user_id=b", app, json=body, headers={"X-Tmem-User": "a"}).json()
    assert said["choices"][0]["message"]["content"] == "Aden"
    nobody = server.ask("POST", "/v1/chat/completions", app, json=ask)
    assert nobody.status_code == 400 and "X-Tmem-User" in nobody.json()["error"]["message"]
    for wrong in ("", "  ", "x" * 201):
        assert server.ask("GET", "/v1/memories", app, params={"user_id": wrong}).status_code == 400
    twice = [("X-Tmem-User", "a"), ("X-Tmem-User", "b"), ("Authorization", f"Bearer {app}")]

    async def send() -> Any:
        async with server.client() as client:
            return await client.get("/v1/memories", headers=twice)

    assert asyncio.run(send()).status_code == 400


def test_a_body_may_not_name_another_user_than_the_query(server: Server) -> None:
    told = {"pairs": [{"question": "Where does Ana live?", "answer": "Lyon"}], "user_id": "ben"}
    assert server.ask("POST", "/v1/memories?user_id=ana", json=told).status_code == 400
    assert server.ask("POST", "/v1/memories?user_id=ana", server.keys.make("ben", "ben"), json=told).status_code == 403
    assert server.memory.users() == []


def test_names_in_any_script(server: Server) -> None:
    app = server.keys.make("app", None)
    own = told(server, app, "Kyoto", headers={"X-Tmem-User": "花子".encode()})
    rows = server.ask("GET", "/v1/memories", app, params={"user_id": "花子"}).json()["results"]
    assert [row["id"] for row in rows] == [own]


def test_a_revoked_key_is_out_at_once(server: Server) -> None:
    ana = server.keys.make("ana", "ana")
    assert server.ask("GET", "/v1/memories", ana).status_code == 200
    server.keys.revoke("ana")
    assert server.ask("GET", "/v1/memories", ana).status_code == 401
    assert server.ask("GET", "/v1/memories").status_code == 401  # and a key is still needed
    server.keys.path.unlink()
    assert server.ask("GET", "/v1/memories", headers={"X-Tmem-User": "ana"}).status_code == 401


def test_without_keys_only_this_computer_is_answered(server: Server, make: Callable[..., Server]) -> None:
    own = {"X-Tmem-User": "ana"}
    assert server.ask("GET", "/v1/memories", headers=own).json() == {"results": []}
    proxied = {"X-Forwarded-For": "192.0.2.7"}
    for more in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, proxied):
        assert server.ask("GET", "/v1/memories", headers=own | more).status_code == 403
    for more in ({"Host": "[::1]:8765"}, {"Origin": "http://127.0.0.1:3000"}):
        assert server.ask("GET", "/v1/memories", headers=own | more).status_code == 200
    reached = make(local=False)
    assert reached.ask("GET", "/v1/memories", headers=own).status_code == 401
    server.keys.path.write_text("{")
    assert server.ask("GET", "/v1/memories", headers=own).status_code == 503


def test_two_users_never_see_each_other(server: Server) -> None:
    ana, ben = server.keys.make("ana", "ana"), server.keys.make("ben", "ben")
    own = told(server, ana, "Canaryville")
    told(server, ben, "Oslo")
    for method, path, body in ROUTES:
        if method in ("GET", "POST"):
            address, sent = of(own, path, body)
            text = server.ask(method, address, ben, json=sent).text
            assert "Canaryville" not in text and "ana" not in text.replace("Canaryville", "").split('"')
    told(server, ben, "Oslo")
    assert server.chat("Where does Ana live?", ben).json()["choices"][0]["message"]["content"] == "Oslo"
    assert server.chat("Where does Ana live?", ana).json()["choices"][0]["message"]["content"] == "Canaryville"
    version = server.ask("GET", "/v1/versions", ana).json()["results"][0]["id"]
    for one in (version, "v1-0123456789ab"):  # a version of hers and none: alike
        for method, path, body in (
            ("POST", "/v1/rollback", {"version": one}),
            ("POST", "/v1/tag", {"version": one, "name": "x"}),
            ("POST", "/v1/ask", {"question": "Who?", "version": one}),
            ("GET", f"/v1/diff?first={one}&second={one}", None),
        ):
            reply = server.ask(method, path, ben, json=body)
            assert (reply.status_code, reply.json()["error"]["message"].replace(one, "")) == (
                404,
                "there is no version '' in this memory",
            )
    assert server.ask("POST", "/v1/reset", ben).status_code == 200
    assert server.ask("GET", "/v1/memories", ben).json() == {"results": []}
    assert len(server.ask("GET", "/v1/memories", ana).json()["results"]) == 1


def test_whom_open_webui_speaks_for_is_believed_as_far_as_it_signs(make: Callable[..., Server]) -> None:
    secret, now = "s" * 32, int(time.time())
    server, plain = make(webui_secret=secret), make()
    app, own = server.keys.make("webui", None), server.keys.make("ben", "ben")

    def signed(key: str = app, with_secret: str = secret, **claims: Any) -> dict[str, str]:
        told = {"sub": "ana", "iss": "open-webui", "iat": now, "exp": now + 300} | claims
        token = jwt.encode({name: value for name, value in told.items() if value is not None}, with_secret, "HS256")
        return {"X-OpenWebUI-User-Jwt": token}

    told(server, app, "Lyon", headers=signed())
    told(server, own, "Oslo")
    told(server, app, "Cork", headers=signed(sub="花子"))
    for more in ({}, {"X-Tmem-User": "ben"}, {"X-OpenWebUI-User-Id": "ben"}):  # what is signed counts
        said = server.ask("GET", "/v1/memories?user_id=ben", app, headers=signed() | more).json()["results"]
        assert [row["answer"] for row in said] == ["Lyon"]
    unsigned = jwt.encode({"sub": "ana", "iss": "open-webui", "exp": now + 300}, None, "none")
    for wrong in (
        {"X-Tmem-User": "ana", "X-OpenWebUI-User-Id": "ana"},
        {"X-OpenWebUI-User-Jwt": "x"},
        {"X-OpenWebUI-User-Jwt": unsigned},
        signed(with_secret="t" * 32),
        signed(exp=now - 60),
        signed(exp=None),
        signed(sub=None),
        signed(sub=""),
        signed(iss="elsewhere"),
    ):
        reply = server.ask("GET", "/v1/memories", app, headers=wrong)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_user_token")
    assert [row["answer"] for row in server.ask("GET", "/v1/memories", own).json()["results"]] == ["Oslo"]
    header = {"X-OpenWebUI-User-Id": "ana"}
    pair = told(plain, None, "Bern", headers=header)
    rows = plain.ask("GET", "/v1/memories?user_id=ben", headers=header).json()["results"]
    assert [row["id"] for row in rows] == [pair]
