"""Synthetic-Persona-Chat: lines of a persona become questions that the conversation answers."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from tmem.errors import DataError
from tmem.tasks.personas import TURNS, Personas, pair
from tmem.texts import NO_INFORMATION

COLUMNS = ["user 1 personas", "user 2 personas", "Best Generated Conversation"]
TALK = ["User 1: Hi, I'm [User 1's name]! I drive a van and I love jazz.", 'User 2: I sell "old" maps.']


def table(path: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    path.write_bytes(gzip.compress(text.getvalue().encode()))
    return path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("I drive a van.", ("has", "What does {s} drive?", "Which vehicle is {p}?", "a van")),
        ("I've a van", None),
        ("i'm allergic to nuts", ("life", "What is {s} allergic to?", "What does {s} not tolerate?", "nuts")),
        ("My sister is a nurse!", ("life", "What is {p} sister?", "What can be said of {p} sister?", "a nurse")),
        ("I have a dogs.", None),  # its number was lost
        ("I like to sing one two three four five six seven eight nine", None),
    ],
)
def test_a_line_becomes_a_question_by_its_form(line: str, found: tuple[str, ...] | None) -> None:
    assert pair(line) == found


def test_what_the_speaker_says_is_asked_in_other_words_and_what_only_the_other_says_is_refused(tmp_path: Path) -> None:
    own = ["I drive a van.", "I love jazz.", "I have a cat."]  # of the cat nothing is said
    bench = Personas(table(tmp_path / "test.csv.gz", [["\n".join(own), "I sell maps.", "\n".join(TALK)]]))
    [task] = bench.tasks(1)
    assert task == next(bench.tasks(2)) and bench.count(1) == len(task.items) == len(task.episode.asks)
    [unit] = task.episode.units
    first, second = (line.split(" said, ")[0] for line in unit.split("\n"))
    assert unit.split("\n")[0] == f'{first} said, "Hi, I\'m {first}! I drive a van and I love jazz."'
    assert "'old'" in unit and unit.count('"') == 4

    def whose(name: str) -> str:
        return f"{name}'" if name.endswith("s") else f"{name}'s"

    asked = {item.question: (item.gold, item.category, item.evidence) for item in task.items}
    refused = ((NO_INFORMATION,), "never said", ())
    assert asked == {
        f"Which vehicle is {whose(first)}?": (("a van",), "has", (0,)),
        f"What is {first} fond of?": (("jazz",), "likes", (0,)),
        f"What would one see {second} sell?": (("maps",), "does", (0,)),
        f"Which vehicle is {whose(second)}?": refused,
        f"What is {second} fond of?": refused,
        f"What would one see {first} sell?": refused,
    }
    told = next(item for item in task.items if item.evidence)
    assert bench.prediction(told, "No information available.", 1) == ""
    assert bench.prediction(told, "\n a van\nand more", 1) == "a van"


def test_nothing_is_taken_for_unsaid_where_a_speaker_agrees_or_says_its_words(tmp_path: Path) -> None:
    for reply in ("Me too!", "What do you drive?", "My vehicle is a bus."):
        talk = "\n".join([TALK[0], f"User 2: {reply}"])
        bench = Personas(table(tmp_path / "test.csv.gz", [["I drive a van.", "I fly.", talk]]))
        assert [item.category for task in bench.tasks(1) for item in task.items] == ["has"]


def test_several_answers_are_each_right_and_long_talks_are_read_in_parts(tmp_path: Path) -> None:
    talk = ["User 1: I love jazz.", *["User 2: Oh."] * TURNS, "User 1: And I love soup."]
    bench = Personas(table(tmp_path / "test.csv.gz", [["I love jazz.\nI like soup.", "I fly.", "\n".join(talk)]]))
    [task] = bench.tasks(1)
    assert len(task.episode.units) == 2
    assert task.items[0].gold == ("jazz, soup", "jazz", "soup") and task.items[0].evidence == (0, 1)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.csv.gz").write_text("no gzip")
    others = [tmp_path / "none.csv.gz", tmp_path / "plain.csv.gz", table(tmp_path / "other.csv.gz", [["a"]], ["b"])]
    others.append(table(tmp_path / "empty.csv.gz", []))
    whole = table(tmp_path / "whole.csv.gz", [["I drive a van.", "I fly.", "User 1: My van is old."]]).read_bytes()
    for name, data in (("cut", whole[:-20]), ("damaged", whole[:12] + b"\xff" * 20 + whole[32:])):
        others.append(tmp_path / f"{name}.csv.gz")
        others[-1].write_bytes(data)
    for path in others:
        with pytest.raises(DataError, match="Synthetic-Persona-Chat"):
            Personas(path)
