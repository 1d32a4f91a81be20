"""Data files: which bytes they are, and where they come from."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from tmem.errors import DataError
from tmem.tasks.persona import Persona
from tmem.tasks.sources import fetched, identity


def test_only_where_a_published_file_is_known_a_file_can_be_another(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[]")
    assert "known" not in identity(path)
    digest = identity(path)["sha256"]
    assert identity(path, {digest: "the set"})["known"] == "the set"
    assert identity(path, {"0": "the set"})["known"] is None


def test_a_data_set_of_the_hub_is_fetched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def download(name: str, file: str, repo_type: str) -> str:
        asked.append((name, file, repo_type))
        if name == "owner/nothing":
            raise OSError("no such set\nin two lines")
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert fetched("owner/set", "a.json") == tmp_path / "a.json"
    assert asked == [("owner/set", "a.json", "dataset")]
    (tmp_path / "here").touch()
    for path in (tmp_path / "here", tmp_path / "missing", "folder/missing.json", "missing"):
        assert fetched(path, "a.json") == Path(path)
    assert len(asked) == 1
    with pytest.raises(DataError, match=r"cannot be had from the hub \(no such set\)$"):
        fetched("owner/nothing", "a.json")


def test_conversations_that_are_made_up_have_a_checksum_too() -> None:
    same, *others = [Persona(4, 2), Persona(8, 2), Persona(4, 2, "seen")]
    assert same.identity() == Persona(4, 5).identity()
    assert len({bench.identity()["sha256"] for bench in (same, *others)}) == 3
