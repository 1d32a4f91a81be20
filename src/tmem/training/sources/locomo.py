"""LoCoMo's sessions, in parts, with the questions whose evidence stands in them. For research: CC BY-NC 4.0."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from tmem.agent.splitting import in_parts
from tmem.errors import UsageError
from tmem.tasks.locomo import load, render_session
from tmem.training.sources.rows import Text

TRAINING = ("conv-26", "conv-41", "conv-42", "conv-43", "conv-47")
ADVERSARIAL = 5


def locomo(path: Path, names: Collection[str], count: Callable[[str], int], most: int) -> list[Text]:
    """A text for every session of the conversations ``names``; errors as :func:`tmem.tasks.locomo.load`.

    A longer session is cut into parts of about ``most`` tokens; its questions stand with each part that answers them:
    where a part has no turn of the evidence they do not.
    """
    conversations = {one.id: one for one in load(path)}
    missing = sorted(set(names) - set(conversations))
    if missing:
        raise UsageError(f"{path} has no {', '.join(missing)}; there are {', '.join(conversations)}")
    made = []
    for name in names:
        for session in conversations[name].sessions:
            texts = {turn.id: turn.text for turn in session.turns if turn.id}
            asked = [
                (question.text, question.gold, [texts[own] for own in question.evidence])
                for question in conversations[name].questions
                if question.category != ADVERSARIAL and question.evidence and set(question.evidence) <= set(texts)
            ]
            for part in in_parts(render_session(session), count, most):
                pairs = [(text, gold) for text, gold, said in asked if all(one[:40] in part for one in said)]
                made.append(Text(part, pairs))
    return made
