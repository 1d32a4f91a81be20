"""The game of searching: think, search, read what is found, and in the end answer (the loop of MEM1, arXiv 2506.15841).

The reply of a turn and what was found make one unit of the working context, which the next reply continues. What
leaves the working context is the memory's business: MEM1 keeps the last turn only, fast weights take a full context in.
"""

from __future__ import annotations

import re

from tmem.agent.rollout import Heard, Life, Steps

STEP_TOKENS = 1024
_SEARCH = re.compile(r"<search>(.*?)</search>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def play(life: Life) -> Steps[None]:
    """Take turns until an answer is given; a reply that neither searches nor answers ends the game without one."""
    game, policy, trajectory = life.episode.search, life.policy, life.trajectory
    assert game is not None and life.episode.answer_prompt is not None
    [ask] = life.episode.asks
    trajectory.answers[ask.id] = ""
    turns = 1 if policy.tail == "dropped" else game.turns  # without any memory there is nothing to search for
    context: list[int] = []
    for turn in range(turns):
        left = turns - turn - 1
        [memory] = yield from policy.recall([ask], context)
        prompt = life.prompt(life.episode.answer_prompt(ask.text, memory), _begun(life, context))
        while context and life.room(prompt, STEP_TOKENS) < STEP_TOKENS:
            if policy.packs:  # a window smaller than the budget: what has to go is taken in
                trajectory.triggers += 1
                yield from policy.observe(context)
                context = []
                [memory] = yield from policy.recall([ask], context)
            else:
                context = context[1:]
                trajectory.left_out += 1
            prompt = life.prompt(life.episode.answer_prompt(ask.text, memory), _begun(life, context))
        trajectory.context_tokens = life.model.count(memory) + life.model.count(_begun(life, context))
        stops = ("</search>", "</answer>") if left else ("</answer>",)
        # A turn is no answer to the question: here Delta is in force beside text under every recipe.
        heard = [Heard(0 if life.contents.blocks else None)] if life.contents is not None else None
        [done] = yield from life.say("step", [prompt], [turn], STEP_TOKENS, [ask.id], heard, stop_texts=stops)
        query = _SEARCH.search(done.text)
        if query is None or not left:
            if _ANSWER.search(done.text):
                trajectory.answers[ask.id] = done.text
            trajectory.tail = tuple(context)
            return
        found = game.find(query.group(1).strip())
        life.units.append(f"{done.text}<information>\n{hint(left)}\n{found}\n</information>")
        context = policy.keep([*context, len(life.units) - 1])
        if policy.packs and life.model.count(_begun(life, context)) > life.agent.budget:
            trajectory.triggers += 1
            yield from policy.observe(context)
            context = []


def hint(left: int) -> str:
    """What a result says about the turns that are left."""
    if left > 1:
        return f"[HINT]You have {left} turns left.[/HINT]"
    return f"[HINT]You have {left} turn left. You must answer the question now.[/HINT]"


def _begun(life: Life, context: list[int]) -> str:
    return "".join(life.units[unit] for unit in context)
