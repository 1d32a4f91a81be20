"""Nobody's secret is in anybody else's answers."""

from __future__ import annotations

import random
from pathlib import Path

from store.volumes import figure, volume

from tmem import Memory
from tmem.model import Model

QUESTION = "What is Maria's vehicle?"
ASKED = ("What is Maria's vehicle?", "How does Maria get around?")


def test_secrets_stay_with_their_user(quick: Model, tmp_path: Path) -> None:
    users = volume(5, 30)
    noise = random.Random(3)
    secrets = ["".join(noise.choice("bdfgklmnprst") + noise.choice("aeiou") for _ in range(3)) for _ in range(users)]
    assert len(set(secrets)) == users
    with Memory(quick, tmp_path / "home") as memory:
        base = [memory.ask(question, user_id="nobody").text for question in ASKED]
        for user, secret in enumerate(secrets):
            memory.add(pairs=[(QUESTION, secret), ("What is Kevin's favourite colour?", "silver")], user_id=f"u{user}")
        told = leaked = from_base = 0
        for user, own in enumerate(secrets):
            answers = [memory.ask(question, user_id=f"u{user}").text for question in ASKED]
            told += own in answers[0]
            others = [secret for secret in secrets if secret != own]
            leaked += sum(secret in answer for answer in answers for secret in others)
            from_base += sum(secret in answer for answer in base for secret in others)
    assert leaked <= from_base
    # And each knows its own: who knows nothing leaks nothing. Of thirty users and words that nobody has seen, most do.
    assert told >= volume(users - 1, users * 3 // 4)
    figure(
        f"{users} users with a secret each, {len(ASKED) * users * (users - 1)} chances: {leaked} leaked, "
        f"{from_base} of the base model's own; {told} know their own"
    )
