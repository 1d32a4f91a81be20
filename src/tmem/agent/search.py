"""The game of searching: think, search, read what is found, and in the end answer (the loop of MEM1, arXiv 2506.15841).

The reply of a turn and what was found make one unit of the working context, which the next reply continues. What
leaves the working context is the memory's business: MEM1 keeps the last turn only, fast weights take a full context in.
"""

from __future__ import annotations

import re

from tmem.agent.rollout import Rollout, Route, Steps

STEP_TOKENS = 1024
_SEARCH = re.compile(r"<search>(.*?)</search>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def play(rollout: Rollout) -> Steps[None]:
    """Take turns until an answer is given; a reply that neither searches nor answers ends the game without one."""
    game, policy, trajectory = rollout.episode.search, rollout.policy, rollout.trajectory
    assert game is not None and rollout.episode.answer_prompt is not None
    [ask] = rollout.episode.asks
    trajectory.answers[ask.id] = ""
    turns = 1 if policy.tail == "dropped" else game.turns  # without any memory there is nothing to search for
    context: list[int] = []
    for turn in range(turns):
        left = turns - turn - 1
        [memory] = yield from policy.recall([ask], context)
        prompt = rollout.prompt(rollout.episode.answer_prompt(ask.text, memory), _begun(rollout, context))
        while context and rollout.room(prompt, STEP_TOKENS) < STEP_TOKENS:
            if policy.packs:  # a window smaller than the budget: what has to go is taken in
                trajectory.triggers += 1
                yield from policy.observe(context)
                context = []
                [memory] = yield from policy.recall([ask], context)
            else:
                context = context[1:]
                trajectory.left_out += 1
            prompt = rollout.prompt(rollout.episode.answer_prompt(ask.text, memory), _begun(rollout, context))
        trajectory.context_tokens = rollout.model.count(memory) + rollout.model.count(_begun(rollout, context))
        stops = ("</search>", "</answer>") if left else ("</answer>",)
        # A turn is no answer to the question: here Delta is in force beside text under every recipe.
        routes = [Route(0 if rollout.contents.blocks else None)] if rollout.contents is not None else None
        [done] = yield from rollout.say("step", [prompt], [turn], STEP_TOKENS, [ask.id], routes, stop_texts=stops)
        query = _SEARCH.search(done.text)
        if query is None or not left:
            if _ANSWER.search(done.text):
                trajectory.answers[ask.id] = done.text
            trajectory.tail = tuple(context)
            return
        found = game.find(query.group(1).strip())
        rollout.units.append(f"{done.text}<information>\n{hint(left)}\n{found}\n</information>")
        context = policy.keep([*context, len(rollout.units) - 1])
        if policy.packs and rollout.model.count(_begun(rollout, context)) > rollout.agent.budget:
            trajectory.triggers += 1
            yield from policy.observe(context)
            context = []


def hint(left: int) -> str:
    """What a result says about the turns that are left."""
    if left > 1:
        return f"[HINT]You have {left} turns left.[/HINT]"
    return f"[HINT]You have {left} turn left. You must answer the question now.[/HINT]"


def _begun(rollout: Rollout, context: list[int]) -> str:
    return "".join(rollout.units[unit] for unit in context)
