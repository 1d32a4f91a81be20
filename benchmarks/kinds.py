"""What people really send, and where they really take it, on persona-nano: what is wanted of each kind, and what comes.

python benchmarks/kinds.py [WORD ...]   (only rows in whose kind or group one of the words stands)

Prints a Markdown table; ends with 1 if a row is not as wanted. Every row is done, in a home of its own.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import unicodedata
from types import SimpleNamespace
from typing import Any

import kinds_models
import kinds_places
import torch
from kinds_rows import PAIR, Got, Place, refused, row, run

from tmem import texts
from tmem.agent.extraction import QAPair, parse
from tmem.errors import ModelError
from tmem.model.chat import Chat
from tmem.store.chat import _prompt
from tmem.tasks.locomo import LoCoMo
from tmem.tasks.longmemeval import LongMemEval

SAID = "What is said"
CALLS = "Models, judges, training"
SESSION = {"role": "user", "name": "Maria"}


def pairs(receipt: Any) -> list[tuple[str, str]]:
    return [(pair["question"], pair["answer"]) for pair in receipt.pairs]


@row(SAID, "long messages", "20 kB in a message, a file, standard input, a question", "in parts, one receipt each")
def long_messages(place: Place) -> Got:
    parts = list[int]()
    said = "I bought a camper. " + "The weather was fine again. " * 700
    receipt = place.memory.add(
        [SESSION | {"content": said}], user_id="u", progress=lambda done, total: parts.append(total)
    )
    asked = place.memory.ask("The weather was fine again. " * 700 + receipt.pairs[0]["question"], user_id="u")
    place.memory.close()
    file, codes = place.written(said), list[int]()
    for told, typed in ((("--file", str(file)), None), (("-",), said)):
        home = ("-u", "v", "--home", str(place.folder / "home"), "--model", "persona-nano", "--json")
        done = kinds_places.tmem("add", *told, *home, typed=typed)
        codes.append(done.returncode or 2 * (not json.loads(done.stdout)["tokens"] > 1000))
    got = f"{parts[-1]} parts, {len(receipt.pairs)} pairs; asked: {asked.text}; file and input: {codes}"
    return got, parts[-1] > 1 and asked.text == receipt.pairs[0]["answer"] and codes == [0, 0]


@row(SAID, "long prompts", "one episode of two asks more than the window holds", "counted as wrong, and named")
def long_prompts(place: Place) -> Got:
    asked = [
        {"question": text, "answer": "a", "category": 4, "evidence": []} for text in ("Who is it? " * 2000, "Who?")
    ]
    made = [one | {"sample_id": str(number)} for number, question in enumerate(asked) for one in sample(question)]
    done = kinds_places.tmem(
        *("eval", "locomo", "--data", str(place.written(made)), "--memory", "full", "--recipe", "tmem", "--json")
    )
    said = next((line for line in done.stderr.splitlines() if "could not be run" in line), done.stderr)
    return f"code {done.returncode}: {said}", done.returncode == 0 and "full 1 of 2" in said and "too long" in said


@row(SAID, "messages in parts", "text and image parts; None; roles tool, assistant", "text read, others named")
def messages_in_parts(place: Place) -> Got:
    parts = [{"type": "text", "text": "I live in Lyon."}, {"type": "image_url"}]
    others = [{"role": "assistant", "content": None}, {"role": "tool", "content": "I live in Oslo."}]
    receipt = place.memory.add([SESSION | {"content": parts}, *others], user_id="u")
    answers = [answer for _, answer in pairs(receipt)]
    named = [drop["text"] for drop in receipt.rejected]
    return f"{answers}, not read: {named}", answers == ["Lyon"] and named == ["image_url"]


@row(SAID, "dates", "'2023-05-08T13:56:00+02:00', 'I saw a whale yesterday'", "7 May 2023")
def dates(place: Place) -> Got:
    when, said = "2023-05-08T13:56:00+02:00", [SESSION | {"content": "I saw a whale yesterday."}]
    found = pairs(place.memory.add(said, timestamp=when, user_id="u"))
    return str(found), [answer for _, answer in found] == ["7 May 2023"]


@row(SAID, "no dates", "'08/05/2023', 'yesterday', '2023-13-45', ' '", "one line each")
def no_dates(place: Place) -> Got:
    return refused(
        *(
            lambda when=when: place.memory.add("I saw a whale.", timestamp=when, user_id="u")
            for when in ("08/05/2023", "yesterday", "2023-13-45", " ")
        )
    )


@row(SAID, "dates in data", "LongMemEval's own script: 2023/5/20, 2023/10/2, a type two_hop", "May first; read")
def dates_in_data(place: Place) -> Got:
    changes = {"haystack_dates": ["2023/10/2", "2023/5/20"], "haystack_session_ids": ["a", "b"]}
    [read] = LongMemEval(place.written([instance(question_type="two_hop", **changes)]), False).instances()
    order = [name for name, _, _ in read.sessions]
    return f"{order}, {read.type}", order == ["b", "a"] and read.type == "multi-session"


@row(SAID, "arguments", "status='all', top_k='5', show_pairs=-1, rollback(True), tag(1, '3')", "one line each")
def arguments(place: Place) -> Got:
    mine: Any = place.memory.scope("u")
    mine.add(pairs=[PAIR])
    return refused(
        lambda: mine.get_all(status="all"),
        lambda: mine.search("city", top_k="5"),
        lambda: mine.ask("Who?", show_pairs=-1),
        lambda: mine.rollback(True),
        lambda: mine.tag(1, "3"),
    )


@row(
    SAID,
    "corrections in other words",
    "vehicle camper, gets around by camper, bought a camper; then vehicle ferry",
    "what follows is retired and named, history stays",
)
def corrections(place: Place) -> Got:
    mine, vehicle, around = place.memory.scope("u"), "What is Maria's vehicle?", "How does Maria get around?"
    mine.add(pairs=[(vehicle, "camper"), (around, "by camper"), ("What did Maria buy?", "a camper")])
    receipt = mine.add(pairs=[(vehicle, "ferry")])
    named = [mine.get(pair["supersedes"])["question"] for pair in receipt.pairs if pair["supersedes"]]
    left = sorted(pair["answer"] for pair in mine.get_all())
    asked = [mine.ask(question).text for question in (vehicle, around, "What did Maria buy?")]
    well = set(named) == {vehicle, around} and asked == ["ferry", "by ferry", "a camper"]
    return f"{left}, asked: {asked}", well and left == sorted(asked)


@row(SAID, "nonsense extracted", "it it that Maria it it ...; think ofine think ofine", "dropped, why")
def nonsense(place: Place) -> Got:
    asked = ("What does Maria it it that Maria it it that Maria it it?", "What does Ana think ofine think ofine?")
    found = parse(json.dumps([QAPair(text, "yes").record() for text in asked]))
    reasons = [drop.reason for drop in found.dropped]
    return str(reasons), len(reasons) == 2 and not found.pairs


@row(SAID, "questions alike", "curly, full-width, NFD, other spaces, zero width", "one pair, updated")
def questions_alike(place: Place) -> Got:
    asked = "Où est José's house?"
    full_width = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in asked)
    ways = [asked.replace("'", "’"), full_width, unicodedata.normalize("NFD", asked), asked.replace(" ", "\xa0 ")]
    ways += [asked.replace("?", " ?"), asked.replace("?", "\u200b?")]
    mine = place.memory.scope("u")
    mine.add(pairs=[(asked, "0")])
    for number, way in enumerate(ways, 1):
        mine.add(pairs=[(way, str(number))], absorb=False)
    mine.absorb()
    left = [pair["answer"] for pair in mine.get_all()]
    return f"{len(left)} pairs", left == [str(len(ways))]


@row(SAID, "reasoning blocks", "<think>draft</think> before an array", "the draft is no pair")
def reasoning(place: Place) -> Got:
    draft, told = (json.dumps([QAPair("Who?", name).record()]) for name in ("Bo", "Ana"))
    found = [pair.answer for pair in parse(f"<think>{draft}, no</think>{told}").pairs]
    found.append(texts.said("<think>\nNot Rome, no. </think>\n\nLyon"))
    return str(found), found == ["Ana", "Lyon"]


@row(SAID, "control tokens in what users say", "every special token of the tokenizer in a message", "text")
def control_tokens(place: Place) -> Got:
    specials = place.model.tokenizer.all_special_ids
    said = " ".join(place.model.tokenizer.convert_ids_to_tokens(specials))
    ways: list[Any] = [
        place.model.bare,
        lambda text: place.model.encode_chat([{"role": "user", "content": text}]),
        lambda text: place.model.example("Who?", text).answer_ids,
        lambda text: place.model.example(text, "Bo").prompt_ids,
    ]
    more = [
        sum(token in specials for token in way(f"Who? {said} Who?")) - sum(token in specials for token in way("Who?"))
        for way in ways
    ]
    return f"{more} more control tokens in questions, prompts and answers", not any(more)


@row(SAID, "ids past the embedding", "the tokenizer has a token more than the matrix", "read as characters")
def past_the_embedding(place: Place) -> Got:
    tokenizer = copy.deepcopy(place.model.tokenizer)
    rows = max(tokenizer.get_vocab().values()) + 1
    tokenizer.add_tokens(["<image>"])
    ids = Chat("m", tokenizer, rows).encode_chat([{"role": "user", "content": "An <image> of Rome"}])
    return f"ids up to {max(ids)} of {rows}", max(ids) < rows


@row(SAID, "templates that insist", "assistant greets, then user, on a template that wants users first", "joined")
def templates_that_insist(place: Place) -> Got:
    def encode(messages: Any) -> Any:
        if messages[0]["role"] != "user":
            raise ModelError("turns must alternate, and the user begins")
        return messages

    asked: Any = SimpleNamespace(model=SimpleNamespace(encode_chat=encode, window=512))
    found: Any = _prompt(asked, [{"role": "assistant", "content": "Hello!"}], "To Rome.")
    return str([one["content"] for one in found]), found[0]["role"] == "user"


@row(SAID, "metadata", "add(metadata=, timestamp=), then get, history, search, export; NaN", "returned; one line")
def metadata(place: Place) -> Got:
    about, mine = {"source": "chat"}, place.memory.scope("u")
    nan, well = refused(lambda: mine.add(pairs=[PAIR], metadata={"score": float("nan")}))
    [pair] = mine.add(pairs=[PAIR], metadata=about, timestamp="8 May 2023").pairs
    rows = (mine.get(pair["id"]), *mine.history(pair["id"]), *mine.search("city"))
    found = {(str(one["metadata"]), one["timestamp"]) for one in rows}
    mine.export(place.folder / "ledger")
    line = json.loads((place.folder / "ledger").read_text())
    found.add((str(line["metadata"]), line["timestamp"]))
    return f"{found}; NaN: {nan}", bool(well) and found == {(str(about), "2023-05-08")}


@row(SAID, "other libraries' shapes", "search(filters=), update(memory_id=, text=), expiration_date", "taken, or named")
def shapes(place: Place) -> Got:
    memory = place.memory
    [pair] = memory.add(pairs=[PAIR], user_id="u").pairs
    found = memory.search("city", filters={"user_id": "u"})
    [new] = memory.update(memory_id=pair["id"], text="Lyon", user_id="u").pairs
    lines, ok = refused(lambda: memory.add("Hi.", expiration_date="2030-01-01", user_id="u"))
    return lines, bool(ok) and len(found) == 1 and new["answer"] == "Lyon"


# ---- models, judges, training ----


@row(CALLS, "families as they are published", "tiny gemma3 with its image tower; gpt2", "written; refused when opened")
def families(place: Place) -> Got:
    from families import tried

    written, _ = tried("gemma3", place.folder / "gemma3")
    word, why = tried("gpt2", place.folder / "gpt2")
    return f"{written}; {word}: {why}", (written, word) == ("written", "refused")


@row(CALLS, "adapters out", "an exported adapter's base", "named, with its digest")
def adapters_out(place: Place) -> Got:
    place.memory.add(pairs=[PAIR], user_id="u")
    place.memory.save_pretrained(place.folder / "adapter", user_id="u")
    config = json.loads((place.folder / "adapter" / "adapter_config.json").read_text())
    base = config["base_model_name_or_path"]
    told = "".join(file.read_text() for file in (place.folder / "adapter").rglob("*.md"))
    return f"{base}, sha256 {'told' if place.model.weights_hash in told else 'not told'}", (
        base == place.model.origin and place.model.weights_hash in told
    )


@row(CALLS, "templates", "several named, none default", "one line")
def several_templates(place: Place) -> Got:
    tokenizer = copy.deepcopy(place.model.tokenizer)
    tokenizer.chat_template = {"tool_use": "a", "rag": "b"}
    return refused(lambda: Chat("m", tokenizer).encode_chat([{"role": "user", "content": "Hi."}]))


@row(CALLS, "judges", "takes no limits; null; parts; a proxy of no use", "asked without; one line each")
def judges(place: Place) -> Got:
    return kinds_models.judges()


@row(CALLS, "rewards", "one that always raises; is NaN; leaves", "an error, no model")
def rewards(place: Place) -> Got:
    does = ("raise KeyError('x')", "return float('nan')", "raise SystemExit(0)")
    bad = [f"def f(*all):\n    {body}\n" for body in does]
    done = [kinds_models.train(place.folder / str(number), body) for number, body in enumerate(bad)]
    return f"codes {[code for code, _ in done]}", all(code != 0 and "reward" in said for code, said in done)


@row(CALLS, "resuming", "RL goes on after the body of the reward changed", "said, and recorded")
def resuming(place: Place) -> Got:
    for steps, value in ((1, 1.0), (2, 2.0)):
        body = f"def f(task, predictions, trajectory):\n    return {value} * len(trajectory.ledger)\n"
        code, said = kinds_models.train(place.folder, body, steps)
    lines = map(json.loads, (place.folder / "rl" / "metrics.jsonl").read_text().splitlines())
    at = [one["step"] for one in lines if one["type"] == "reward"]
    return f"recorded at {at}", code == 0 and "has changed since" in said and at == [0, 1]


def instance(**changes: Any) -> dict[str, Any]:
    """A question of LongMemEval's shape, two sessions of which are the same."""
    plain = {"question_id": "q1", "question_type": "multi-session", "question": "Q?", "answer": "a"}
    turns = [[{"role": "user", "content": "hi"}]] * 2
    history = {"haystack_session_ids": ["s", "s"], "haystack_dates": ["2023/05/20"] * 2, "haystack_sessions": turns}
    return plain | history | {"question_date": "2023/05/30", "answer_session_ids": ["s"]} | changes


def sample(*questions: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation of LoCoMo's shape."""
    turns = [{"speaker": "A", "dia_id": "D1:1", "text": "hi"}]
    talk = {"speaker_a": "A", "speaker_b": "B", "session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023"}
    return [{"sample_id": "c", "conversation": talk, "qa": list(questions)}]


@row(
    CALLS,
    "evaluation files that are right",
    "category 5, odd evidence, integers, BOM, CRLF",
    "read",
)
def files_that_are_right(place: Place) -> Got:
    asked = {"question": "Q?", "category": 5, "evidence": ["D1:1; D9", None, 3], "adversarial_answer": "w"}
    text = json.dumps(sample(asked, asked | {"answer": "w"}, asked | {"category": 4, "answer": 2022}), indent=1)
    path = place.written("\ufeff" + text.replace("\n", "\r\n"))
    [conversation] = LoCoMo(path, False).conversations
    found = [question.gold for question in conversation.questions]
    [twice] = LongMemEval(place.written([instance()]), False).instances()
    wanted = ["No information available"] * 2 + ["2022"]
    return f"{found}, {len(twice.sessions)} sessions", found == wanted and len(twice.sessions) == 2


@row(
    CALLS,
    "evaluation files that are wrong",
    "NaN, a comma too many, Latin-1, a folder, ids twice",
    "one line each",
)
def files_that_are_wrong(place: Place) -> Got:
    asked = {"question": "Q?", "category": 4, "answer": "é"}
    good = json.dumps(sample(asked), ensure_ascii=False)
    bad = [good.replace('"é"', "NaN"), good.replace("}]}]", "},]}]"), good.encode("latin1")]
    paths = [*map(place.written, bad), place.folder]
    own = [place.written([instance(), instance()]), place.written(json.dumps([instance()])[:-1] + ",]"), place.folder]
    return refused(
        *(lambda path=path: LoCoMo(path, False) for path in paths),
        *(lambda path=path: LongMemEval(path, False) for path in own),
    )


if __name__ == "__main__":
    logging.disable()
    torch.set_num_threads(1)
    sys.exit(run(sys.argv[1:]))
