"""Conversations with questions, made up from a seed, in LoCoMo's own JSON schema.

Two people meet for dated sessions and state facts: attributes ("I live in Lisbon."), updates of them, dated
events and likes or dislikes. Every statement is a fact in ``sample["facts"]`` with its gold question-answer pair,
so extraction can be scored; ``sample["qa"]`` asks about them in other wordings.
"""

from __future__ import annotations

import datetime
import random
from typing import Any

from tmem.seeds import derive
from tmem.tasks.persona import lexicon as lx
from tmem.tasks.persona.lexicon import Attribute
from tmem.tasks.persona.world import People, World, canonical, sentence, when_answer

# Of every eight facts: five attributes, an update of an earlier attribute, an event, a like or dislike.
FACT_PATTERN = ("attribute", "attribute", "event", "attribute", "trait", "attribute", "update", "attribute")


# In training they come in any order, and what is hardest to read more often.
TRAIN_KINDS, TRAIN_WEIGHTS = ("attribute", "event", "trait", "update"), (8, 5, 2, 3)
CATEGORY = {"multi-hop": 1, "temporal": 2, "open": 3, "single-hop": 4, "update": 4, "adversarial": 5}


MAX_FACTS = 80


FIRST_DAY = datetime.date(2022, 1, 3)


def make_sample(
    seed: int, index: int, sessions: int, facts: int, people: People = "unseen", invented: float = 0.6
) -> dict[str, Any]:
    """One conversation with its questions, a pure function of the arguments. At most :data:`MAX_FACTS` facts."""
    rng = random.Random(derive(seed, index, sessions, facts, people, "persona"))
    world = World(people, invented)
    first = world.name(rng)
    second = world.name(rng)
    while second == first:
        second = world.name(rng)
    told = _facts(world, (first, second), sessions, facts, rng)
    conversation = _conversation(world, (first, second), told, sessions, rng)
    return {
        "qa": _questions(world, (first, second), told, rng),
        "conversation": conversation,
        "facts": told,
        "sample_id": f"persona-{people}-{seed}-{index}",
    }


def make_world(
    seed: int, conversations: int, sessions: int, facts: int, people: People = "unseen"
) -> list[dict[str, Any]]:
    """A list of samples, as in a LoCoMo file."""
    return [make_sample(seed, index, sessions, facts, people) for index in range(conversations)]


def _facts(
    world: World, people: tuple[str, str], sessions: int, count: int, rng: random.Random
) -> list[dict[str, Any]]:
    """The facts in the order in which they are told, spread evenly over the sessions."""
    kinds = world.attributes
    if world.loose and rng.random() < 0.5:
        # Both speak of the same things: only who said it tells the answers apart.
        kinds = rng.sample(kinds, min(len(kinds), max(2, count // 2)))
    attributes = [(person, attribute) for person in people for attribute in kinds]
    events = [(person, event) for person in people for event in world.part(lx.EVENTS)]
    traits = [(person, trait) for person in people for trait in world.traits]
    for pool in (attributes, events, traits):
        rng.shuffle(pool)
    facts: list[dict[str, Any]] = []
    current: dict[tuple[str, str], dict[str, Any]] = {}
    for number in range(count):
        kind = FACT_PATTERN[number % len(FACT_PATTERN)]
        if world.loose:
            kind = rng.choices(TRAIN_KINDS, TRAIN_WEIGHTS)[0]
        session = number * sessions // count + 1
        if kind == "update":
            # Only facts of earlier sessions are updated, or any where there is a single session.
            old = [f for f in current.values() if f["session"] < session or sessions == 1]
            if old:
                before = rng.choice(old)
                attribute = lx.ATTRIBUTES[before["attribute"]]
                fact = _attribute_fact(world, before["speaker"], attribute, rng, other_than=before["answer"])
                before["superseded"] = True
                fact["kind"] = "update"
                said = world.pick(world.wording(lx.UPDATE, lx.TRAIN_UPDATE), rng)
                fact["text"] = sentence(said, noun=attribute.noun, v=fact["answer"])
            else:
                kind = "attribute"
        if kind == "attribute" and not attributes:
            kind = "trait"
        if kind == "trait" and not traits:
            kind = "event"
        if kind == "attribute":
            person, attribute = attributes.pop()
            fact = _attribute_fact(world, person, attribute, rng)
        elif kind == "event":
            person, event = events.pop()
            base, past = world.event(event, rng)
            fact = {
                "kind": "event",
                "speaker": person,
                "base": base,
                "past": past,
                "when": rng.choice(lx.WHEN),
            }
        elif kind == "trait":
            person, (thing, *occasions) = traits.pop()
            fact = _trait_fact(world, person, thing, occasions, rng)
        fact |= {"session": session, "superseded": False}
        if "attribute" in fact:
            current[(fact["speaker"], fact["attribute"])] = fact
        facts.append(fact)
    return facts


def _attribute_fact(
    world: World, person: str, attribute: Attribute, rng: random.Random, other_than: str | None = None
) -> dict[str, Any]:
    value = world.value(attribute, rng)
    while value in (other_than, person):
        value = world.value(attribute, rng)
    return {
        "kind": "attribute",
        "speaker": person,
        "attribute": lx.ATTRIBUTES.index(attribute),
        "question": canonical(attribute, person),
        "answer": value,
        "text": world.say(attribute, value, rng),
    }


def _trait_fact(world: World, person: str, thing: str, occasions: list[str], rng: random.Random) -> dict[str, Any]:
    loves = rng.random() < 0.5
    return {
        "kind": "trait",
        "speaker": person,
        "occasion": rng.choice(occasions),
        "question": sentence(lx.TRAIT_ASK[0], p=person, thing=thing),
        "answer": "loves it" if loves else "dislikes it",
        "text": sentence(world.pick(world.wording(lx.LOVES if loves else lx.HATES), rng), thing=thing),
    }


def _conversation(
    world: World, people: tuple[str, str], facts: list[dict[str, Any]], sessions: int, rng: random.Random
) -> dict[str, Any]:
    """Sessions with their turns. Events get their answers here, where their session's date is known."""
    conversation: dict[str, Any] = {"speaker_a": people[0], "speaker_b": people[1]}
    day = FIRST_DAY + datetime.timedelta(days=rng.randrange(700))
    for session in range(1, sessions + 1):
        day += datetime.timedelta(days=rng.randint(3, 25))
        hour, minute = rng.randint(1, 12), rng.randrange(60)
        date = f"{hour}:{minute:02} {rng.choice(['am', 'pm'])} on {day.day} {day.strftime('%B')}, {day.year}"
        opener = rng.randrange(2)
        greeting = rng.choice(lx.GREETINGS).format(other=people[1 - opener])
        turns: list[tuple[str, str, dict[str, Any] | None]] = [(people[opener], greeting, None)]
        for fact in (fact for fact in facts if fact["session"] == session):
            if fact["kind"] == "event":
                _date_event(world, fact, day, rng)
            if rng.random() < 0.5:
                turns.append((rng.choice(people), world.filler(rng), None))
            text = fact["text"]
            if rng.random() < 0.3:
                text += " " + world.filler(rng)
            turns.append((fact["speaker"], text, fact))
        conversation[f"session_{session}_date_time"] = date
        conversation[f"session_{session}"] = [
            {"speaker": speaker, "dia_id": f"D{session}:{number}", "text": text}
            for number, (speaker, text, _) in enumerate(turns, start=1)
        ]
        for number, (_, _, stated) in enumerate(turns, start=1):
            if stated is not None:
                stated["dia_id"] = f"D{session}:{number}"
    return conversation


def _date_event(world: World, fact: dict[str, Any], day: datetime.date, rng: random.Random) -> None:
    when = fact["when"]
    template = world.pick(world.wording(lx.EVENT_SAY, lx.TRAIN_EVENT_SAY), rng)
    fact["text"] = template.format(past=fact["past"], when=when, When=when.capitalize())
    fact["question"] = sentence(lx.EVENT_ASK[0], p=fact["speaker"], past=fact["past"])
    fact["answer"] = when_answer(when, day)


def _questions(
    world: World, people: tuple[str, str], facts: list[dict[str, Any]], rng: random.Random
) -> list[dict[str, Any]]:
    """Every current fact once, and a quarter as many multi-hop and adversarial questions."""
    current = [fact for fact in facts if not fact["superseded"]]
    attributes = [fact for fact in current if "attribute" in fact]
    questions = [_question(world, fact, rng) for fact in current]
    extra = max(1, len(facts) // 4)
    questions += _multi_hop(world, people, attributes, extra, rng)
    questions += _adversarial(world, people, facts, extra, rng)
    return questions


def _question(world: World, fact: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    person, answer = fact["speaker"], fact["answer"]
    if "attribute" in fact:
        kind = "update" if fact["kind"] == "update" else "single-hop"
        text = world.ask(lx.ATTRIBUTES[fact["attribute"]], person, rng)
    elif fact["kind"] == "event":
        kind = "temporal"
        asked = world.pick(world.wording(lx.EVENT_ASK[1:]), rng)
        text = sentence(asked, p=person, base=fact["base"], past=fact["past"])
    else:
        kind, answer = "open", "Likely yes" if answer == "loves it" else "Likely no"
        text = sentence(world.pick(world.wording(lx.OPEN_ASK), rng), p=person, occasion=fact["occasion"])
    return _qa(kind, text, answer, [fact])


def _qa(kind: str, text: str, answer: str, evidence: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [fact["dia_id"] for fact in evidence]
    return {"question": text, "answer": answer, "evidence": ids, "category": CATEGORY[kind], "kind": kind}


def _multi_hop(
    world: World, people: tuple[str, str], attributes: list[dict[str, Any]], count: int, rng: random.Random
) -> list[dict[str, Any]]:
    """One fact says who is meant, another one of the same person (of another session if possible) is asked."""
    clues = [
        fact
        for fact in attributes
        if not any(f["answer"] == fact["answer"] and f["speaker"] != fact["speaker"] for f in attributes)
    ]
    rng.shuffle(clues)
    questions: list[dict[str, Any]] = []
    for clue in clues:
        own = [f for f in attributes if f["speaker"] == clue["speaker"] and f is not clue]
        targets = [f for f in own if f["session"] != clue["session"]] or own
        if not targets or len(questions) == count:
            continue
        target = rng.choice(targets)
        who = lx.ATTRIBUTES[clue["attribute"]].who.format(v=clue["answer"])
        asked = world.ask(lx.ATTRIBUTES[target["attribute"]], "that person", rng)
        questions.append(_qa("multi-hop", f"One of them {who}. {asked}", target["answer"], [clue, target]))
    return questions


def _adversarial(
    world: World, people: tuple[str, str], facts: list[dict[str, Any]], count: int, rng: random.Random
) -> list[dict[str, Any]]:
    """A fact of one person, asked about the other, who never said such a thing."""
    told = {(fact["speaker"], fact["attribute"]) for fact in facts if "attribute" in fact}
    other = {people[0]: people[1], people[1]: people[0]}
    swapped = [
        fact
        for fact in facts
        if "attribute" in fact and not fact["superseded"] and (other[fact["speaker"]], fact["attribute"]) not in told
    ]
    rng.shuffle(swapped)
    questions = []
    for fact in swapped[:count]:
        text = world.ask(lx.ATTRIBUTES[fact["attribute"]], other[fact["speaker"]], rng)
        qa = _qa("adversarial", text, "", [fact])
        del qa["answer"]
        questions.append(qa | {"adversarial_answer": fact["answer"]})
    return questions
