"""Memories that last, from the command line: told, asked, corrected, gone back to, forgotten."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.running import Run, one_object
from rich.cells import cell_len
from rich.console import Console
from store.fakes import FakeTrainer
from typer.main import get_command

from tmem import Memory
from tmem.cli.app import application
from tmem.cli.evaluate import show as show_eval
from tmem.cli.examples import EXAMPLES
from tmem.cli.score import MEANS, show_judgements, show_scores
from tmem.store import revise
from tmem.store.home import Home
from tmem.store.ledger.queries import NewPair
from tmem.store.weights.trainer import FastWeightTrainer

VEHICLE = "What is Maria's vehicle?"


@pytest.fixture(autouse=True)
def quickly(quick_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMEM_MODEL", str(quick_model))


@pytest.fixture
def own(tmem: Run, tmp_path: Path) -> Run:
    """Commands of one user, in a home of their own."""

    def call(*argv: object) -> tuple[int, str, str]:
        return tmem(*argv, "--user", "u", "--home", tmp_path / "home")

    return call


def told(own: Run, *argv: object) -> dict[str, Any]:
    code, out, err = own("add", *argv, "--json")
    assert (code, err) == (0, "")
    return one_object(out)


def test_weights_of_a_checkpoint_in_float16_are_one_base_and_others_are_not_taken(
    own: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(own, "-q", VEHICLE, "-a", "camper", "--weights", "float16")
    for weights in ("float32", "float16", "auto"):
        assert own("ask", VEHICLE, "--weights", weights)[1].strip() == "camper"
    monkeypatch.setenv("TMEM_WEIGHTS", "int3")
    code, _, err = own("ask", VEHICLE)
    assert code == 2 and "int3" in err


def test_a_life_of_a_memory(own: Run, tmp_path: Path) -> None:
    [pair] = told(own, "I bought a camper to get around.", "--name", "Maria")["pairs"]
    assert (pair["question"], pair["answer"], pair["status"]) == (VEHICLE, "camper", "active")
    assert own("ask", "How does Maria get around?")[1].strip() == "camper"
    code, out, _ = own("update", pair["id"][:8], "ferry")
    assert code == 0 and "takes the place of an earlier" in out and "version v2-" in out
    assert own("ask", VEHICLE)[1].strip() == "ferry"
    assert own("ask", VEHICLE, "--version", "1")[1].strip() == "camper"
    assert own("diff", 1, 2)[1].splitlines() == [f"+ {VEHICLE} ferry", f"- {VEHICLE} camper"]
    assert own("rollback", 1)[0] == 0 and own("ask", VEHICLE)[1].strip() == "camper"
    told(own, "-q", "What is Maria's job?", "-a", "baker")
    code, out, _ = own("forget", pair["id"])
    assert code == 0 and "as if never told" in out
    assert [row["answer"] for row in one_object(own("list", "--json")[1])["pairs"]] == ["baker"]
    assert "forgotten" in own("list", "--all")[1] and "bit for bit" in own("verify", "--deep")[1]
    kinds = [row["kind"] for row in one_object(own("versions", "--json")[1])["versions"]]
    assert kinds == ["add", "update", "rollback", "add", "forget"] and "rollback" in own("versions")[1]
    assert "1 active" in own("stats")[1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"camper" in path.read_bytes()]


@pytest.mark.parametrize(
    ("argv", "words", "code"),
    [
        (("add",), "give a text, --file, or --question", 2),
        (("add", "-q", "What?"), "with --answer", 2),
        (("update", "nope", "x"), "no pair nope", 2),
        (("forget", "nope"), "no pair nope", 2),
        (("rollback", "7"), "no version '7'", 2),
        (("forget", ""), "too short: give at least 4", 2),
        (("forget", "abc"), "too short", 2),
        (("get", ""), "too short", 2),
        (("update", "", "x"), "too short", 2),
        (("history", ""), "too short", 2),
        (("get", "\udcff\udcff\udcff\udcff"), "there is no pair", 2),
        (("add", "Hi.", "--agent", "\udcff"), "agent_id", 2),
    ],
)
def test_what_cannot_work_is_one_line(own: Run, argv: tuple[str, ...], words: str, code: int) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    found, out, err = own(*argv)
    assert (found, out, err.count("\n")) == (code, "", 1) and words in err


def test_a_file_is_told(own: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("I bought a camper to get around. I am a bit tired today.")
    code, out, _ = own("add", "--file", tmp_path / "notes.md", "--name", "Maria", "--when", "2023-03-29", "--json")
    assert code == 0 and (VEHICLE, "camper") in [(row["question"], row["answer"]) for row in one_object(out)["pairs"]]
    assert one_object(out)["pairs"][0]["timestamp"] == "2023-03-29"
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "blank").write_text(" \n")
    for argv, words in (
        (("add", "--file", tmp_path / "picture"), "cannot be read as text"),
        (("add", "--file", tmp_path / "nothing"), "cannot be read as text (No such file or directory): give a text"),
        (("add", "--file", tmp_path), "cannot be read as text (Is a directory): give a text file"),
        (("add", "--file", tmp_path / "blank"), "there is nothing in it to tell: give a text"),
        (("add", " "), "there is nothing in it to tell: give a text"),
        (("add", "Hi.", "--file", tmp_path / "notes.md"), "give a text, --file, or"),
        (("add", "Hi.", "--when", "08/05/2023"), "is no date that can be read"),
    ):
        code, out, err = own(*argv)
        assert code != 0 and out == "" and words in err and err.count("\n") == 1


def test_what_is_piped_in_and_is_no_text_is_one_line(own: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (("add", "-"), ("chat",)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Hi \xff\n"), "utf-8"))
        code, _, err = own(*command)
        assert code == 2 and "standard input cannot be read as text" in err and "give UTF-8" in err


def test_whose_memories_there_are_and_what_becomes_of_them(tmem: Run, tmp_path: Path) -> None:
    home, maria = ("--home", tmp_path / "home"), ("-u", "maria", "--home", tmp_path / "home")
    assert tmem("add", "-q", VEHICLE, "-a", "camper", *maria)[0] == 0
    [row] = one_object(tmem("users", "--json", *home)[1])["users"]
    assert (row["user_id"], row["pairs"]) == ("maria", 1)
    assert "user maria: 1 pairs, since 20" in tmem("users", *home)[1]
    code, out, err = tmem("list", "-u", "marai", *home)
    assert (code, out) == (2, "") and "did you mean maria?" in err
    assert tmem("backup", tmp_path / "copy", *home)[0] == 0
    code, _, err = tmem("erase", *maria)
    assert code == 2 and "add --yes" in err
    assert tmem("erase", "--yes", *maria)[0] == 0 and tmem("users", *home)[1] == "nobody's yet\n"
    assert tmem("list", *maria)[0] == 2
    code, out, _ = tmem("restore", tmp_path / "copy", *home)
    assert code == 0 and "home.before-1: remove it when" in out
    assert one_object(tmem("list", "--json", *maria)[1])["pairs"][0]["answer"] == "camper"


def test_what_waits_is_written_for_everybody(tmem: Run, tmp_path: Path) -> None:
    home = ("--home", tmp_path / "home", "--model", "persona-nano")
    assert tmem("absorb", *home)[0] == 2  # no home is made by it
    with Memory("persona-nano", tmp_path / "home") as memory:
        for user in ("ana", "ben"):
            memory.add(pairs=[(VEHICLE, "camper")], absorb=False, user_id=user)
    assert one_object(tmem("absorb", "--json", *home)[1]) == {"written": 2, "failed": []}
    assert tmem("absorb", *home)[:2] == (0, "nothing waited to be written\n")
    code, _, err = tmem("absorb", "--ray", "auto", *home)
    assert code == 2 and "need a ledger in Postgres: tmem migrate" in err


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("sqlite", "its ledger is in SQLite already"),
        ("mysql://x@y/z", "Protocol not known: mysql; a ledger goes to postgresql://, weights to what fsspec knows"),
        ("nowhere", "give where to: postgresql://user@host/database or sqlite for the ledger"),
    ],
)
def test_a_ledger_that_cannot_be_moved_there(own: Run, tmem: Run, tmp_path: Path, to: str, said: str) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    code, _, err = tmem("migrate", to, "--home", tmp_path / "home")
    assert code == 2 and said in err and "1 active" in own("stats")[1]


def test_weights_go_elsewhere_and_back(own: Run, tmem: Run, tmp_path: Path) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    home, there = ("--home", tmp_path / "home"), f"file://{tmp_path}/there"
    assert one_object(tmem("migrate", there, *home, "--json")[1])["files"] == 1
    assert len(list((tmp_path / "there").rglob("*.safetensors"))) == 1 and "camper" in own("ask", VEHICLE)[1]
    assert "are in folder now: 1 files, read back and compared" in tmem("migrate", "folder", *home)[1]
    assert not list((tmp_path / "there").rglob("*")) and "camper" in own("ask", VEHICLE)[1]


def test_a_short_id_forgets_nothing(own: Run) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    assert own("forget", "")[0] == 2 and "1 active" in own("stats")[1]


def test_a_memory_that_was_told_nothing_says_so(own: Run) -> None:
    code, _, err = own("ask", VEHICLE)
    said = "tmem: nothing was told to this memory yet (tmem users lists whose there are)\n"
    assert (code, err) == (0, said)
    assert own("verify") == own("rebuild") == (2, "", said)
    assert one_object(own("ask", VEHICLE, "--json")[1])["version"] is None


def test_a_pipe_gets_whole_lines(own: Run) -> None:
    question, answer = "What did Maria say of " + "her old " * 12 + "camper?", "It runs :car:"
    [line, last] = own("add", "-q", question, "-a", answer)[1].splitlines()
    assert f"  {question} {answer}" in line and last.startswith("version v1-") and "tokens" not in last
    pair = one_object(own("list", "--json")[1])["pairs"][0]["id"]
    assert f"question: {question}" in own("get", pair)[1].splitlines()
    assert own("add", "I bought a camper to get around.", "--name", "Maria")[1].endswith(" tokens\n")


def test_a_narrow_terminal_breaks_no_word_and_what_looks_like_markup_is_text(
    tmem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    home = Home(tmp_path, FakeTrainer())
    scope = home.scope(("[red]ana[/red]", None, None))
    question = "What did [red]Maria[/red] say in Llanfairpwllgwyngyll of the [/] internationalisation of :car:s?"
    answer = "That [b]incomprehensibilities [/b] are :warning: " + "quite often seen there, " * 3 + "[link=x]\\"
    _, [first] = home.tell(scope, [NewPair(question, answer)])
    home.absorb(scope)
    home.tell(scope, [NewPair("REFUSE [/]?", "[/nothing]"), NewPair(question, "[b]", first)])
    home.absorb(scope)
    revise.tag(home, scope, 1, "[/] good [red]")
    whose = ("-u", "[red]ana[/red]", "--home", tmp_path)
    wrapped = {*question.split(), *answer.split()}
    for argv, words in (
        (("list", "--all"), {first[:8], "question", "quarantined", "REFUSE", "[/nothing]", *wrapped}),
        (("history", first), wrapped),
        (("versions",), {"[/]", "good", "[red]", home.versions(scope)[0].id}),
        (("get", first), wrapped),
        (("diff", 1, 1), set()),
        (("stats",), {"1", "active,"}),
    ):
        code, out, err = tmem(*argv, *whose)
        assert (code, err) == (0, "") and words <= set(out.split()), argv
        assert argv[0] == "get" or max(map(cell_len, out.splitlines() or [""])) <= 80
    assert "[red]ana[/red]: 1 pairs" in tmem("users", "--home", tmp_path)[1]
    assert tmem("list", "-u", "[/]", "--home", tmp_path)[0] == 2


def test_tables_of_scores_fit_eighty_columns() -> None:
    kinds = ("single-session-preference", "single-session-assistant", "knowledge-update", "temporal-reasoning")
    memories, row = ("tmem", "full", "rag", "memagent", "none"), {"n": 500, "em": 0.5, "f1": 0.5, "taught": None}
    by_category = {kind: {"em": 0.25, "f1": 0.5, "n": 7} for kind in kinds}
    path = f"/home/somebody/{'a-long-name/' * 8}longmemeval_s_cleaned.json"
    result: dict[str, Any] = {
        "data": {"file": path, "sha256": "0a1b" * 16},
        "recipe": {"name": "tmem", "lr": 0.001},
        "model": "persona-nano",
        "bench": "longmemeval",
        "settings": {"budget": 64},
        "scorers": ["tmem_token"],
        "memories": [
            row | {"memory": name, "by_category": by_category, "extraction": None, "seeds": [1]} for name in memories
        ],
    }
    judged = dict.fromkeys(MEANS, 50.0) | {
        "n": 500,
        "failed": 0,
        "unreadable": 0,
        "by_category": dict.fromkeys(kinds, 1),
    }
    verdicts = {
        "bench": "longmemeval", "judge_model": "gpt", "template_sha256": "0a1b" * 16, "warnings": ["w " * 99],
        "memories": dict.fromkeys(memories, judged),
        "calibration": {"failed": 0, "false_accept": 0.1, "false_reject": 0.1, "n_wrong": 5, "n_right": 5},
    }  # fmt: skip
    scored = {"scorer": "mem1", "by_category": dict.fromkeys(kinds, row), "f1_sum": 1.0, "em_sum": 1.0} | row
    scored["by_category"] = {kind: row | {"f1_sum": 1.0, "em_sum": 1.0} for kind in kinds}
    for show, what, words in (
        (lambda console: show_eval(result, None, console), result, (path + ",", *kinds, *memories)),
        (lambda console: show_judgements(verdicts, console), verdicts, (*memories, "unanswerable", "unreadable")),
        (lambda console: show_scores(scored, console), scored, (*kinds, "category")),
    ):
        text = io.StringIO()
        show(Console(file=text, width=80))
        assert set(words) <= set(text.getvalue().split()) and what
        assert max(len(line) for line in text.getvalue().splitlines() if line[0] in "┏┃│└") <= 80


def test_pairs_are_searched_without_a_model(tmem: Run, tmp_path: Path) -> None:
    home, whose = Home(tmp_path, FakeTrainer()), ("-u", "u", "--home", tmp_path, "--json")
    home.tell(home.scope(("u", None, None)), [NewPair(VEHICLE, "camper"), NewPair("What is Maria's job?", "baker")])
    home.absorb(home.scope(("u", None, None)))
    pair, _ = one_object(tmem("search", "which vehicle?", *whose)[1])["pairs"]
    assert pair["answer"] == "camper" and pair["status"] == "active"
    assert len(one_object(tmem("search", "Maria", *whose)[1])["pairs"]) == 2
    assert len(one_object(tmem("search", "Maria", "--top-k", 1, *whose)[1])["pairs"]) == 1
    assert "camper" in tmem("search", "vehicle", *whose[:-1])[1]
    assert tmem("search", "vehicle", "--top-k", 0, *whose)[0] == 2


def test_help_fits_eighty_columns(tmem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)
    for argv in (("eval", "locomo"), *(tuple(name.split()) for name in EXAMPLES)):
        code, out, _ = tmem(*argv, "--help")
        assert code == 0 and max(map(cell_len, out.splitlines())) <= 80
        for example in EXAMPLES.get(" ".join(argv), ()):
            assert " ".join(example.split()) in " ".join(out.partition("Examples:")[2].split())
    code, _, err = tmem("lits")
    assert code == 2 and "Did you mean 'list'?" in err


def test_examples_are_commands_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmem.toml").write_text('home = "memories"\n')
    monkeypatch.chdir(tmp_path)
    lines = [line for name, lines in EXAMPLES.items() if name for line in lines]
    every = [one for line in lines for one in line.partition("  #")[0].rpartition("| ")[2].split(";")]
    for words in map(shlex.split, every):
        command: Any = get_command(application(words[1]))
        with contextlib.ExitStack() as stack:
            context = stack.enter_context(command.make_context(words[0], words[1:]))
            rest = words[1:]
            while hasattr(command, "resolve_command"):
                name, command, rest = command.resolve_command(context, rest)
                context = stack.enter_context(command.make_context(name, list(rest), parent=context))


def test_a_quarantine_is_said_aloud(own: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastWeightTrainer, "_refusal", lambda *_: "the weights grew too large")
        code, out, err = own("add", "-q", VEHICLE, "-a", "camper")
        pair = one_object(own("list", "--all", "--json")[1])["pairs"][0]["id"][:8]
        assert code == 1 and f"quarantined {pair}" in out and err.count("\n") == 1
        assert err.startswith("tmem: 1 pairs are not in force, the write was refused (the weights grew too large)")
        assert err.endswith(f"tell them again in fewer or other words, or tmem forget {pair}\n")
        code, out, err = own("add", "-q", VEHICLE, "-a", "bus", "--json")
        assert code == 1 and one_object(out)["pairs"][0]["status"] == "quarantined" and "not in force" in err
    assert own("ask", VEHICLE)[1] == "No information available\n" and own("forget", pair)[0] == 0


def test_a_memory_needs_an_owner_and_a_place(tmem: Run, tmp_path: Path) -> None:
    code, _, err = tmem("list", "--home", tmp_path)
    assert code == 2 and "whose memory" in err
    (tmp_path / "file").write_text("x")
    code, _, err = tmem("ask", "What?", "-u", "u", "--home", tmp_path / "file")
    assert code == 1 and "cannot be written" in err and err.count("\n") == 1


def test_taken_elsewhere_and_explained(own: Run, tmem: Run, tmp_path: Path) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    told(own, "-q", "What is Maria's job?", "-a", "baker")
    assert own("export", tmp_path / "ledger.jsonl")[0] == 0
    assert own("export", tmp_path / "adapter", "--format", "peft")[0] == 0
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }
    other = ("--user", "v", "--home", tmp_path / "other")
    assert one_object(tmem("import", tmp_path / "ledger.jsonl", *other, "--json")[1])["kind"] == "import"
    weights = [one_object(out)["weights"] for _, out, _ in (own("verify", "--json"), tmem("verify", *other, "--json"))]
    assert weights[0] == weights[1]
    first, _ = one_object(own("why", "How does Maria get around?", "--json")[1])["pairs"]
    assert first["answer"] == "camper" and "camper" in own("why", "How does Maria get around?")[1]
    assert "2" in own("rebuild", "--json")[1]
    status, _, said = own("rebuild", "--all")
    assert status == 2 and "--all takes every memory of the home: leave out --user" in said


def test_a_conversation(own: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        "I bought a camper to get around.",
        "How does Maria get around?",
        "",
        "/memories",
        "/nonsense",
        "/forget",
        "/why How does Maria get around?",
        "/versions",
        "/quit",
        "never read",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(said)))
    code, out, err = own("chat", "--name", "Maria")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("  learned ") and lines[0].endswith(f"{VEHICLE} camper")
    assert lines[1] == "camper"
    assert "moved" in out and "v1-" in out
    assert "there is no /nonsense" in err and "/forget needs something after it" in err
    known = one_object(own("list", "--json")[1])["pairs"][0]
    assert known["timestamp"] is not None  # what is typed is said now
    pair = known["id"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"/forget {pair[:8]}\nI drive a bus now."))
    code, out, err = own("chat", "--name", "Maria", "--json")
    assert (code, err) == (0, "") and "as if never told" in out
    learned = json.loads(out.splitlines()[-1])
    assert set(learned) == {"text", "version", "learned"}


def test_one_pair_and_a_name_for_a_version(own: Run) -> None:
    [pair] = told(own, "-q", VEHICLE, "-a", "camper")["pairs"]
    assert one_object(own("get", pair["id"][:6], "--json")[1]) | {"recalled": True} == pair
    assert "answer: camper" in own("get", pair["id"])[1]
    code, out, _ = own("tag", 1, "good")
    assert code == 0 and out.endswith("is good\n")
    assert own("ask", VEHICLE, "--version", "good")[1].strip() == "camper"
    assert own("tag", 9, "bad")[0] == 2


LOOKS = [
    "list",
    "search abcd",
    "get abcd",
    "history abcd",
    "versions",
    "diff 1 2",
    "verify",
    "stats",
    "why What?",
    "export file",
]


HEAVY = {"torch", "transformers", "numpy", "sqlalchemy.dialects.postgresql"}


def test_what_looks_imports_nothing_that_it_does_not_need(own: Run, tmem: Run, tmp_path: Path) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    program = "import sys; from tmem.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    words = ("list", "--user", "u", "--home", str(tmp_path / "home"))
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    *shown, modules = done.stdout.splitlines()
    assert any("camper" in line for line in shown) and "tmem.store.home" in modules.split()
    assert not HEAVY & set(modules.split())


@pytest.mark.parametrize(
    "command",
    [("doctor",), ("backup", "copy"), ("rebuild", "-u", "u"), *((*look.split(), "-u", "u") for look in LOOKS)],
)
def test_what_looks_makes_no_home(tmem: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    code, out, err = tmem(*command, "--home", tmp_path / "nowhere")
    assert (code, out) == (2, "") and "no memories are kept there" in err and err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_the_doctor_finds_and_mends(own: Run, tmem: Run, tmp_path: Path) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    home = tmp_path / "home"
    assert tmem("doctor", "--home", home)[:2] == (0, "everything is sound\n")
    [path] = (home / "scopes").rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    code, out, err = own("ask", VEHICLE)
    assert (code, out) == (1, "") and "tmem doctor --fix" in err
    code, out, _ = tmem("doctor", "--home", home, "--json")
    assert code == 1 and one_object(out)["sound"] is False
    code, out, _ = tmem("doctor", "--home", home, "--fix")
    assert code == 0 and "made anew" in out
    assert own("ask", VEHICLE)[1].strip() == "camper"


def test_later_texts_are_read_again(own: Run) -> None:
    [pair] = told(own, "-q", "What is Maria's job?", "-a", "baker")["pairs"]
    told(own, "I bought a camper to get around.", "--name", "Maria")
    code, out, _ = own("forget", pair["id"], "--mode", "reextract")
    assert code == 0 and "texts read again: 1; pairs: 1 the same, 0 new, 0 no longer found" in out
    assert [row["answer"] for row in one_object(own("list", "--json")[1])["pairs"]] == ["camper"]
    assert own("forget", pair["id"], "--mode", "other")[0] == 2


def test_a_copy_of_a_home(own: Run, tmem: Run, tmp_path: Path) -> None:
    told(own, "-q", VEHICLE, "-a", "camper")
    copied = tmem("backup", tmp_path / "copy", "--home", tmp_path / "home", "--json")
    assert one_object(copied[1]) == {"folder": str(tmp_path / "copy"), "files": 1}
    assert tmem("ask", VEHICLE, "--user", "u", "--home", tmp_path / "copy")[1].strip() == "camper"
    code, out, err = tmem("backup", tmp_path / "copy", "--home", tmp_path / "home")
    assert (code, out) == (1, "") and "is there already" in err
