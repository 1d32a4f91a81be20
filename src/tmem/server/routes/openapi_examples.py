"""What replies look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

PAIR: dict[str, Any] = {
    "id": "996cb9c8c34248228ba6aca383aacf19",
    "question": "How does Maria get around?",
    "answer": "camper",
    "status": "active",
    "supersedes": None,
    "episode": "5f0c9d1e2a7b4c6d8e9f0a1b2c3d4e5f",
    "created": "2026-11-28T12:00:00+00:00",
    "timestamp": "2026-05-08",
    "metadata": {"from": "form"},
}
RECEIPT: dict[str, Any] = {
    "kind": "add",
    "version": "v1-6c95060852a6",
    "pairs": [PAIR | {"recalled": True}],
    "rejected": [],
    "reason": None,
    "tokens": 45,
    "milliseconds": 310.4,
    "details": {},
}
ANSWER: dict[str, Any] = {
    "text": "camper",
    "source": "weights",
    "pairs": [PAIR["id"]],
    "shown": [],
    "version": "v1-6c95060852a6",
    "milliseconds": 12.5,
}
VERSION: dict[str, Any] = {
    "id": "v1-6c95060852a6",
    "kind": "add",
    "tag": None,
    "created": "2026-11-28T12:00:00+00:00",
    "weights": "0a1b2c3d4e5f",
    "account": {"pairs": 1, "steps": 1, "applied": True},
}
CHANGES = {"added": [PAIR], "removed": []}
VERIFIED = {"version": "v1-6c95060852a6", "weights": "0a1b2c3d4e5f", "steps": 1, "deep": False}
MOVED = PAIR | {"with": -0.02, "without": -6.1, "moved": 6.08}
STATS = {"pairs": {"active": 1}, "versions": 1, "snapshots": 1, "bytes": 1245184}


def shown(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """What a route says of its reply: an object with these parts, and an example of it."""
    schema = {"type": "object", "required": sorted(example)}
    return {200: {"description": "Done", "content": {"application/json": {"schema": schema, "example": example}}}}
