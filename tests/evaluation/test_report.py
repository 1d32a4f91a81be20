"""Reports of made-up runs on disk: what they say, how they look, and what is refused."""

from __future__ import annotations

import builtins
import io
import json
import random
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tmem.cli.evaluate import show as print_summary
from tmem.cli.report import report as print_report
from tmem.errors import DataError, UsageError
from tmem.evaluation.reporting.comparison import ALL, ANSWERABLE, NO_ABSTENTION, is_taught
from tmem.evaluation.reporting.plots import overview_figures, run_figures
from tmem.evaluation.reporting.report import make_report, write_figures, write_page
from tmem.evaluation.reporting.tables import Table, explanation, overview, run_section

MARKUP = "<script>alert(1)</script> & [bold] $x$"
RIGHT = {"none": 0, "rag": 2, "tmem": 3}  # of the four questions of a conversation


def about(**changes: Any) -> dict[str, Any]:
    return {
        "bench": "persona",
        "data": {"facts": 8, "people": "unseen", "sha256": "one"},
        "model": "persona-nano",
        "model_hash": "abc",
        "parameters": 2_800_000,
        "prompts": "compact",
        "taught": ["none", "tmem"],
        "recipe": {"name": "tmem", "lr": 0.35},
        "settings": {"budget": 100, "decoding": {"answering": {"top_k": 0}}},
        "version": "0.1.0",
        "command": "tmem eval persona --out there",
    } | changes


def records(memory: str, seed: int, conversation: str) -> list[dict[str, Any]]:
    """A conversation of four questions, the last one adversarial; RIGHT says how many are answered well."""
    head = {"memory": memory, "seed": seed, "episode": conversation}
    building = 1 if memory == "tmem" else 0
    build: dict[str, Any] = {"triggers": 1, "writes": building, "llm_calls": building, "prompt_tokens": 80 * building}
    build |= {"trained_tokens": 500 * building, "new_tokens": 20 * building}
    build["seconds"] = {"write": 0.5} if building else {}
    write: dict[str, Any] = {
        "status": "ok",
        "pairs": [["q", "a"]],
        "dropped": [],
        "new_loss": [2.0, 0.1],
        "applied": True,
        "reason": None,
    }
    ids = [f"{conversation}:{number}" for number in range(4)]
    episode: dict[str, Any] = {"type": "episode", "questions": ids, "build": build, "memory_size": {}, "cut_short": 0}
    episode |= {"extraction": None, "writes": [write] * building}
    questions: list[dict[str, Any]] = []
    for number, name in enumerate(ids):
        right = float(number < RIGHT[memory])
        questions.append(
            {
                "type": "question",
                "id": name,
                "category": "adversarial" if number == 3 else "single-hop",
                "question": "Where?",
                "gold": ["No information available" if number == 3 else f"city {number}"],
                "scores": {"tmem_token": {"f1": right, "em": right}, "amem_set": {"f1": right / 2, "em": right}},
                "age": number,
                "judging": {},
                "memory_size": {},
                "left_out": 0,
                "answer": {"llm_calls": 1, "prompt_tokens": 10, "new_tokens": 5, "finish": "stop", "seconds": 0.1},
                "build": build,
            }
        )
    return [{**head, **record} for record in (episode, *questions)]


def write_run(folder: Path, order: int = 0, memories: tuple[str, ...] = tuple(RIGHT), **changes: Any) -> Path:
    """A run of two seeds and three conversations; ``order`` shuffles its lines over two files."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(about(**changes)))
    everything = [r for m in memories for seed in (1, 2) for n in range(3) for r in records(m, seed, f"p-{seed}-{n}")]
    random.Random(order).shuffle(everything)
    for worker in range(2):
        lines = [json.dumps(record) + "\n" for record in everything[worker::2]]
        (folder / f"records-{worker}.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "one")


def printed(*folders: Path, width: int = 200) -> str:
    out = io.StringIO()
    print_report(folders, None, None, False, Console(file=out, width=width))
    return out.getvalue()


# ---- what a report says ----


def test_a_run_in_figures(run: Path) -> None:
    [found] = make_report([run])["runs"]
    assert (found["questions"], found["conversations"], found["seeds"]) == (24, 6, [1, 2])
    assert found["headline"] == ["tmem_token f1", "tmem_token em"]
    assert list(found["memories"]) == ["none", "rag", "tmem"]
    assert found["coverage"] == found["warnings"] == []
    tmem = found["memories"]["tmem"]
    same = {"sd": 0.0, "low": 75.0, "high": 75.0}  # all conversations are alike
    assert tmem["scores"][ALL]["tmem_token f1"] == {"n": 24, "mean": 75.0} | same
    assert tmem["scores"][ANSWERABLE]["tmem_token em"]["mean"] == 100.0
    assert tmem["scores"][ALL]["amem_set f1"]["mean"] == 37.5
    assert tmem["by_category"]["adversarial"]["tmem_token em"]["mean"] == 0.0
    assert tmem["cost"]["tokens_per_question"] == 100 / 4 + 15 and tmem["cost"]["trained_per_question"] == 500 / 4
    assert [row["age"] for row in tmem["retention"]] == ["0", "1", "2-3"]
    assert tmem["losses"] == [{"write": 1, "n": 6, "first": 2.0, "last": pytest.approx(0.1)}]
    assert [found["memories"][memory]["taught"] for memory in RIGHT] == [True, False, True]
    best = found["constants"][ALL]["tmem_token em"]
    assert best == {"answer": "No information available", "mean": 25.0}
    assert found["constants"][ANSWERABLE]["tmem_token em"]["mean"] == pytest.approx(100 / 3)  # the most frequent city


def test_memories_are_compared_question_by_question(run: Path) -> None:
    [found] = make_report([run])["runs"]
    pairs = {(pair["first"], pair["second"]): pair["measures"]["tmem_token f1"] for pair in found["comparisons"]}
    assert list(pairs) == [("rag", "none"), ("tmem", "none"), ("tmem", "rag")]
    last = pairs["tmem", "rag"]
    assert (last["mean"], last["wins"], last["ties"], last["losses"], last["clear"]) == (25.0, 6, 18, 0, True)


def test_a_report_does_not_depend_on_the_order_of_records(tmp_path: Path) -> None:
    texts = []
    for order in (1, 2):
        report = make_report([write_run(tmp_path / str(order) / "run", order)])
        texts.append(json.dumps(report, allow_nan=False).replace(str(tmp_path / str(order)), ""))
    assert texts[0] == texts[1]


def test_runs_are_found_at_any_depth_and_once(run: Path) -> None:
    root = run.parent.parent
    write_run(root / "deep" / "down" / "two")
    assert len(make_report([root, run, root])["runs"]) == 2


def test_missing_seeds_are_said_plainly(run: Path) -> None:
    for path in run.glob("records-*.jsonl"):
        lines = [line for line in path.read_text().splitlines() if not ('"rag"' in line and '"seed": 2' in line)]
        path.write_text("".join(f"{line}\n" for line in lines))
    assert make_report([run])["runs"][0]["coverage"] == ["rag, seed 2: 12 of 12 questions are missing"]
    assert "rag, seed 2: 12 of 12 questions are missing" in printed(run)


def test_judgements_are_one_more_score(run: Path) -> None:
    def judgement(number: int, **changes: Any) -> str:
        own = {"id": f"p-1-0:{number}", "memory": "tmem", "seed": 1, "score": 1, "failed": False, "unreadable": False}
        return json.dumps(own | {"judge_model": "judge", "satisfied": 1.0} | changes) + "\n"

    failed = judgement(1, score=0, satisfied=0.0, failed=True)
    again = judgement(2, score=0, satisfied=0.0, failed=True) + judgement(2, score=0, satisfied=0.5)
    (run / "judgements-0.jsonl").write_text(judgement(0) + failed + again)
    rates = {"judge_model": "judge", "false_accept": 0.125, "false_reject": 0.0}
    (run / "calibration-0.json").write_text(json.dumps(rates))
    [found] = make_report([run])["runs"]
    assert found["judges"] == [
        {
            "model": "judge",
            "template_sha256": None,
            "judged": 3,
            "of": 72,
            "failed": 1,
            "unreadable": 0,
            "false_accept": 0.125,
            "false_reject": 0.0,
        }
    ]
    scores = found["memories"]["tmem"]["scores"][ALL]
    assert (scores["judge judge accuracy"]["n"], scores["judge judge accuracy"]["mean"]) == (3, pytest.approx(100 / 3))
    assert scores["judge judge rubrics"]["mean"] == 50.0
    assert found["headline"][0] == "tmem_token f1"
    text = printed(run)
    assert "of our wrong answers it accepts 12.5 %, of our right ones it rejects 0.0 %" in text
    assert "33.3 - of 3" in text  # all three about one conversation


def test_a_benchmark_without_scorers_is_reported_by_its_judge(run: Path, tmp_path: Path) -> None:
    for path in run.glob("records-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line | {"scores": {}, "gold": []}) + "\n" for line in lines))
    [unjudged] = make_report([run])["runs"]
    assert unjudged["headline"] == [] and unjudged["comparisons"] == []
    assert "needs a judge" in printed(run)
    line = {"id": "p-1-0:0", "memory": "tmem", "seed": 1, "score": 1, "failed": False, "judge_model": "gpt x"}
    (run / "judgements-0.jsonl").write_text(json.dumps(line) + "\n")
    assert make_report([run])["runs"][0]["headline"] == ["judge gpt x accuracy"]
    assert "not calibrated" in printed(run)
    write_page(make_report([run]), tmp_path / "report.html")
    assert "accuracy" in Page((tmp_path / "report.html").read_text()).text


def test_tasks_that_share_a_context_are_one_cluster(run: Path) -> None:
    for path in run.glob("records-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line | {"judging": {"context_id": "c"}}) + "\n" for line in lines))
    [found] = make_report([run])["runs"]
    assert found["conversations"] == 1
    assert found["memories"]["tmem"]["scores"][ALL]["tmem_token f1"]["low"] is None


def test_runs_beside_each_other(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", settings={**about()["settings"], "budget": 50})
    write_run(tmp_path / "c", model="persona-small", parameters=6_800_000, model_hash="def", memories=("tmem",))
    write_run(tmp_path / "d", data={**about()["data"], "facts": 4, "sha256": "other"})
    write_run(tmp_path / "e", data={"file": "f.json", "sha256": "0", "known": "LoCoMo-10"}, bench="locomo")
    found = make_report([tmp_path])["across"]
    assert [[run["label"] for run in group["runs"]] for group in found["models"]] == [
        ["persona-nano, budget 50", "persona-nano, budget 100", "persona-small"],
        ["persona-nano"],
        ["persona-nano"],
    ]
    [budget] = found["budget"]
    assert [point["x"] for point in budget["memories"]["tmem"]] == [50, 100]
    [length] = found["length"]
    assert [(point["x"], point["mean"]) for point in length["memories"]["tmem"]] == [(4, 75.0), (8, 75.0)]
    text = printed(tmp_path)
    assert "by tokens of the working context" in text and "by facts told in a stream" in text


def test_a_memory_with_settings_of_its_own_is_compared_with_those_elsewhere(tmp_path: Path) -> None:
    write_run(tmp_path / "a", memories=("none", "tmem"))
    write_run(tmp_path / "b", memories=("rag",), settings={**about()["settings"], "retriever": "x"})
    write_run(tmp_path / "c", memories=("rag",), model="persona-small", model_hash="def")
    [found] = make_report([tmp_path])["across"]["comparisons"]
    assert [(pair["first"], pair["second"]) for pair in found["comparisons"]] == [("rag", "none"), ("rag", "tmem")]
    gain = found["comparisons"][1]["measures"]["tmem_token f1"]
    assert gain["mean"] == pytest.approx(25.0 * (RIGHT["rag"] - RIGHT["tmem"])) and gain["n"] == 24
    assert "rag † - tmem" in printed(tmp_path)


# ---- memories that the model was never taught to use ----


def rows(table: Table) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table.rows}


def test_what_a_model_was_taught(run: Path) -> None:
    assert is_taught(about(), "rag") is False and is_taught(about(), "tmem") is True
    assert is_taught(about(taught=None), "rag") is None
    assert is_taught(about(bench="search"), "tmem") is False
    text = printed(write_run(run.parent / "instructed", taught=None))
    assert "†" not in text and "*" in text


def test_every_table_of_a_run_has_the_mark(tmp_path: Path) -> None:
    [found] = make_report([write_run(tmp_path / "run", taught=["none", "rag"])])["runs"]
    section = run_section(found)
    assert section.remarks == [explanation(["tmem †"])]
    for table in section.tables:
        names = [row[0] for row in table.rows] + table.columns
        assert any("tmem †" in name for name in names) and not any("rag †" in name for name in names), table.title
    assert {"What was extracted and written", "Loss of each write of a stream"} <= {t.title for t in section.tables}


def test_a_difference_to_an_untaught_memory_is_never_called_clear(run: Path) -> None:
    [found] = make_report([run])["runs"]
    [table] = [table for table in run_section(found).tables if "question by question" in table.title]
    pairs = rows(table)
    assert list(pairs) == ["rag † - none", "tmem - none", "tmem - rag †"]
    assert ["*" in cells[1] for cells in pairs.values()] == [False, True, False]
    assert "No * where one of the two has †." in table.note


def test_runs_beside_each_other_have_the_mark(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", data={"facts": 4, "people": "unseen"})
    write_run(tmp_path / "c", model="large", taught=None, model_hash="def")
    found = make_report([tmp_path])["across"]
    section = overview(found)
    scores, tokens, length = section.tables
    for table in (scores, tokens):
        assert table.columns[1:] == ["persona-nano", "large"]
        assert [cell.endswith("†") for cell in rows(table)["rag"]] == [True, False]
        assert not any("†" in cell for cell in rows(table)["tmem"])
    assert list(rows(length)) == ["none", "rag †", "tmem"]
    assert section.remarks == [explanation(["†"])]
    for figure in overview_figures(found):
        assert "rag †" in figure.svg and "tmem †" not in figure.svg and "† The model was never" in figure.caption


def test_figures_of_a_run_have_the_mark(tmp_path: Path) -> None:
    report = make_report([write_run(tmp_path / "run", taught=["none", "rag"])])
    figures = run_figures(report["runs"][0], report["across"]["models"][0])
    assert [figure.name for figure in figures] == ["scores", "cost", "retention", "loss"]
    for figure in figures:
        assert "tmem †" in figure.svg and "rag †" not in figure.svg and "† The model was never" in figure.caption


def test_the_table_after_a_run_has_the_mark() -> None:
    def shown(taught: bool | None) -> str:
        item: dict[str, Any] = {"memory": "amem", "taught": taught, "seeds": [1], "n": 2, "em": 0.5, "f1": 0.5}
        item |= {"by_category": {}, "extraction": {"recall": 1.0}, "other": {"f1": 0.25}}
        out = io.StringIO()
        result = about() | {"scorers": ["tmem_token", "other"], "memories": [item]}
        print_summary(result, None, Console(file=out, width=120))
        return out.getvalue()

    text = shown(False)
    for part in ("amem † │", "F1 by other: amem † 0.250", "amem † extraction", explanation(["†"])):
        assert part in text, part
    assert "†" not in shown(True) + shown(None)


# ---- LongMemEval ----


def longmemeval(folder: Path) -> Path:
    """A run in which the last question of each conversation asks for what was never told."""
    write_run(folder, bench="longmemeval", data={"file": "f.json", "sha256": "0", "known": None})
    for path in folder.glob("records-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if line["type"] == "question":
                last = line["category"] == "adversarial"
                line |= {"category": "temporal-reasoning" if last else "multi-session", "judging": {"abstention": last}}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_abstention_questions_are_also_left_out(tmp_path: Path) -> None:
    [found] = make_report([longmemeval(tmp_path / "run")])["runs"]
    tmem = found["memories"]["tmem"]
    assert list(tmem["scores"]) == list(found["constants"]) == [ALL, NO_ABSTENTION]
    assert tmem["scores"][NO_ABSTENTION]["tmem_token f1"]["mean"] == 100.0
    assert (tmem["scores"][ALL]["tmem_token f1"]["n"], tmem["scores"][NO_ABSTENTION]["tmem_token f1"]["n"]) == (24, 18)
    assert sum(row["n"] for row in tmem["retention"]) == 18
    assert tmem["judged"] == {}
    assert "Scores, without abstention questions" in printed(tmp_path)


def test_means_of_the_judge_are_in_the_report(tmp_path: Path) -> None:
    run = longmemeval(tmp_path / "run")
    lines = [
        {"id": f"p-1-0:{number}", "memory": "tmem", "seed": 1, "score": int(number > 1), "failed": False}
        for number in range(4)
    ]
    texts = [json.dumps(line | {"judge_model": "judge"}) + "\n" for line in lines]
    (run / "judgements-0.jsonl").write_text("".join(texts))
    [found] = make_report([run])["runs"]
    [table] = [table for table in run_section(found).tables if table.title == "Accuracy by judge judge"]
    assert table.columns == ["memory", "accuracy", "mean of types", "unanswerable", "answerable"]
    assert rows(table) == {"none": ["-"] * 4, "rag †": ["-"] * 4, "tmem": ["50.0", "66.7", "100.0", "33.3"]}


# ---- how it looks ----


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what a page could load and where links can lead."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._note(attrs)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("src", "href", "xlink:href", "data", "action"):
                self.targets.append(value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(run: Path, tmp_path: Path) -> str:
    write_run(run.parent / "two", model=MARKUP, command=f"tmem eval {MARKUP}")
    write_page(make_report([run.parent]), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    found = Page(page)
    assert "script" not in found.tags and "link" not in found.tags and "img" not in found.tags
    assert all(re.fullmatch(r"#[\w-]+", target) for target in found.targets)
    assert {target[1:] for target in found.targets} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert found.tags.count("table") == found.tags.count("caption") >= 10
    assert found.tags.count("figure") == found.tags.count("svg") == 2 + 2 * 2


def test_names_are_text_and_not_markup(page: str) -> None:
    assert "<script" not in page
    assert MARKUP in Page(page).text


def test_figures_are_svg_in_the_ink_of_the_page(page: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert figures
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.get("role") == "img" and root.get("aria-label") and root.get("viewBox")
        assert "currentColor" in figure and "#010203" not in figure
        assert "".join(root.itertext()).strip()  # text, not outlines of letters
        assert "<style" not in figure


def test_the_same_records_make_the_same_page(run: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_page(make_report([run]), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_terminal_says_the_same(run: Path) -> None:
    text = printed(run)
    for part in (
        "75.0 ± 0.0",
        "[75.0, 75.0]",
        "rag †",
        "one answer to all",
        "+75.0*",
        "+25.0 [25.0, 25.0]",
        "6 / 18 / 0",
        "tmem eval persona",
    ):
        assert part in text, part
    assert "0 to 100 by tmem_token" in text
    assert all(len(line) <= 80 for line in printed(run, width=80).splitlines())


def test_names_with_markup_can_be_printed(tmp_path: Path) -> None:
    assert "[bold]" in printed(write_run(tmp_path / "run", model=MARKUP))


def test_json_is_one_object(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_report([run], tmp_path / "report.html", None, True, Console())
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert set(found) == {"runs", "across"} and (tmp_path / "report.html").is_file()


def test_figures_as_files(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "figures"
    paths = write_figures(make_report([run]), folder)
    assert sorted(folder.iterdir()) == sorted(paths) and paths[0].name == "1-scores.svg"
    for path in paths:
        root = ElementTree.parse(path).getroot()  # an SVG that stands alone
        assert root.tag.endswith("svg") and "background:#fff" in root.attrib["style"] and int(root.attrib["width"])
    printed_text = io.StringIO()
    print_report([run], None, folder, False, Console(file=printed_text, width=300))
    assert str(paths[0]) in printed_text.getvalue()


# ---- what is refused ----


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in it"):
        make_report([tmp_path])


def test_a_line_that_is_being_written_is_left_out(run: Path) -> None:
    whole = json.dumps(make_report([run]))
    for path in run.glob("records-*.jsonl"):
        with open(path, "a") as file:
            file.write('{"type": "question", "mem')
    assert json.dumps(make_report([run])) == whole


@pytest.mark.parametrize("broken", ["{", "[]", "\xff", '{"type": "question"}', '{"type": "other"}'])
def test_a_broken_line_is_named(run: Path, broken: str) -> None:
    path = run / "records-0.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in [*lines[:2], broken, *lines[2:]]))
    with pytest.raises(DataError, match=re.escape(f"{path}: line 3")):
        make_report([run])


def test_a_run_of_something_else(run: Path) -> None:
    (run / "run.json").write_text('{"name": "other"}')
    with pytest.raises(DataError, match="does not describe a run"):
        make_report([run])


def test_an_empty_run_says_that_nothing_is_recorded_yet(run: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "run.json").write_text(json.dumps(about()))
    with pytest.raises(DataError, match="nothing is recorded yet"):
        make_report([empty])
    assert "Nothing is recorded yet" in printed(run, empty)
    write_page(make_report([run, empty]), tmp_path / "report.html")
    assert "Nothing is recorded yet" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_the_page_needs_the_extra(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest, **more)

    report = make_report([run])
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"extra eval: pip install 'tmem\[eval\]'"):
        write_page(report, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
