"""The page, as it is served, and driven in a real browser without a window."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from threading import Event, Thread
from time import sleep
from typing import Any

import pytest
from server.serving import Server

from tmem.server.routes.looking import FOLDER, KINDS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MARKUP = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"


def test_it_is_served_to_anybody_and_takes_nothing_from_elsewhere(server: Server) -> None:
    server.keys.make("ana", "ana")
    for path, (name, kind) in KINDS.items():
        reply = server.ask("GET", path, headers={"Host": "example.org"})
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(kind)
        policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        text = (FOLDER / name).read_text()
        assert reply.text == text and set(re.findall(r"https?://[^'\"]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert server.ask("GET", "/v1/stats").status_code == 401 and server.ask("GET", "/page").status_code == 401
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|<script>|\son\w+=|\sstyle=", html)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", (FOLDER / "page.js").read_text()
    )


def test_what_it_asks_for(server: Server) -> None:
    """Pairs by status, how they grew, what changed, whether the weights are right; and of nobody else's memory."""
    server.keys.make("ana", "ana"), server.keys.make("ben", "ben")
    ana, ben = (server.keys.make(f"{user}'s", user) for user in ("ana", "ben"))
    for city in ("Lyon", "Nice"):
        server.ask("POST", "/v1/memories", ana, json={"messages": [{"content": f"I live in {city}.", "name": "Ana"}]})
    first, second = server.ask("GET", "/v1/growth", ana).json()["results"]
    assert (first["pairs"], second["pairs"], second["kind"]) == (1, 1, "add")
    changed = server.ask("GET", "/v1/diff", ana, params={"first": first["id"], "second": second["id"]}).json()
    assert changed["added"][0]["answer"] == "Nice" and changed["removed"][0]["answer"] == "Lyon"
    assert server.ask("GET", "/v1/stats", ana).json()["pairs"] == {"active": 1, "superseded": 1}
    assert server.ask("GET", "/v1/verify", ana).json()["version"] == second["id"]
    assert server.ask("GET", "/v1/growth", ben).json() == {"results": []}
    memory = server.memory.scope(user_id="ana")
    memory.add(pairs=[("Which tea?", "mint"), ("Which sea?", "the North Sea")])
    memory.rollback(1)
    memory.delete(memory.add(pairs=[("Which tree?", "oak")]).pairs[0]["id"])
    held = [len(memory.home.history(memory.id, number).current) for number in (1, 2, 3, 4, 5, 6)]
    assert [row["pairs"] for row in memory.growth()] == held == [1, 1, 3, 1, 1, 1]
    assert server.ask("GET", "/v1/stats", ben).json()["pairs"] == {}
    assert server.ask("GET", "/v1/diff", ben, params={"first": first["id"], "second": "1"}).status_code == 404
    assert server.ask("GET", "/v1/verify", ben).json()["version"] is None


# ---- in a browser ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def site(make: Callable[..., Server]) -> Iterator[tuple[Server, str]]:
    """A server that listens, and its address."""
    uvicorn = pytest.importorskip("uvicorn")
    server, listening = make(), socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(server.app, log_level="error", lifespan="off"))
    thread = Thread(target=running.run, args=([listening],))
    thread.start()
    yield server, f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.actions.free.set()
    running.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def page(browser: Any, site: tuple[Server, str]) -> Iterator[Any]:
    """The page before anybody has said whose memory it is. Whatever goes wrong in it fails the test."""
    wrong, asked = list[str](), list[str]()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site[1])
    yield page
    context.close()
    assert wrong == [] and [url for url in asked if not url.startswith((site[1], "data:"))] == []


def enter(page: Any, user: str = "ana", name: str = "Ana", key: str = "") -> None:
    for field, value in (("user", user), ("name", name), ("key", key)):
        page.fill(f"#enter [name={field}]", value)
    page.press("#enter [name=user]", "Enter")


def say(page: Any, text: str) -> Any:
    """What stands below a message that was sent."""
    page.fill("#say textarea", text)
    page.press("#say textarea", "Enter")
    page.wait_for_selector("#say button:not([disabled])")
    return page.locator(".turn").nth(page.locator(".turn").count() - 1)


def test_chat_shows_what_was_learned_and_which_pairs_answered(page: Any, site: tuple[Server, str]) -> None:
    enter(page)
    page.wait_for_selector("#main:visible")
    told = say(page, "I live in Lyon.")
    assert "Where does Ana live?\nLyon" in told.locator(".learned").inner_text()
    told.get_by_text("Learned", exact=True).wait_for()
    page.wait_for_selector("#list .pair")  # what it changed stands beside it
    asked = say(page, "Where does Ana live?")
    assert asked.locator(".answer").inner_text() == "Lyon"
    assert "from the weights · v1" in asked.inner_text()
    asked.get_by_text("Answered from").wait_for()
    assert asked.locator(".box .a").inner_text() == "Lyon"
    asked.get_by_text("What moved it?").click()
    asked.locator(".bar").wait_for()
    told.get_by_text("Undo").click()
    told.get_by_text("Undone: v2").wait_for()
    page.get_by_text("0 pairs", exact=True).wait_for()
    assert site[0].memory.scope(user_id="ana").get_all() == []
    page.uncheck("#say [name=learn]")
    assert "it was never told" in say(page, "I live in Nice. Where does Ana live?").inner_text()
    assert site[0].memory.scope(user_id="ana").get_all() == []


def test_a_memory_is_searched_corrected_and_forgotten_with_a_receipt(page: Any, site: tuple[Server, str]) -> None:
    memory = site[0].memory.scope(user_id="ana")
    memory.add(pairs=[("Which tea does Ana drink?", "mint"), ("Where does Ana live?", "Lyon")])
    enter(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#list .pair")
    assert page.locator("#list .a").all_inner_texts() == ["Lyon", "mint"]
    page.fill("#find [name=query]", "TEA mi")
    page.get_by_text("1 of 2 pairs", exact=True).wait_for()
    page.fill("#find [name=query]", "tea")
    page.locator("#list").get_by_text("Edit").click()
    page.fill("#list input", "green")
    page.keyboard.press("Enter")
    page.locator("#list .a", has_text="green").wait_for()
    page.locator("#list").get_by_text("Earlier").click()
    page.locator(".earlier", has_text="mint").wait_for()
    page.locator("#list").get_by_text("Forget").click()
    page.click("#ask-yes")
    page.get_by_text("Receipt", exact=True).first.wait_for()
    assert "forgotten for good" in page.inner_text("#ask-body") and "v3" in page.inner_text("#ask-body")
    assert "1 pair" in page.inner_text("#ask-body")  # mint holds again
    page.click("#ask-no")
    assert {row["answer"] for row in memory.get_all()} == {"mint", "Lyon"}


def test_versions_are_compared_and_gone_back_to(page: Any, site: tuple[Server, str]) -> None:
    memory = site[0].memory.scope(user_id="ana")
    for place in ("Lyon", "Nice", "Paris"):
        memory.add(pairs=[("Where does Ana live?", place)])
    enter(page)
    page.click("#tab-versions")
    page.wait_for_selector("#plot .step", state="attached")  # level: it has no height to be seen by
    assert page.locator("#plot .dot").count() == 3
    rows = page.locator(".version")
    rows.nth(1).get_by_text("What changed").click()
    assert rows.nth(1).locator(".more .a").inner_text() == "Nice"
    assert rows.nth(1).locator(".less .a").inner_text() == "Lyon"
    rows.nth(2).get_by_text("What changed").click()
    assert rows.nth(2).locator(".more .a").inner_text() == "Lyon"  # of the first one: all that it held
    rows.nth(2).get_by_text("Go back").click()
    assert page.locator("#ask-body .more .a").inner_text() == "Lyon"
    page.click("#ask-yes")
    page.get_by_text("went back").wait_for()
    page.click("#ask-no")
    assert [row["answer"] for row in memory.get_all()] == ["Lyon"]
    page.click("#tab-health")
    page.click("#verify")
    page.get_by_text("v4 is what the ledger says").wait_for()


def test_what_is_remembered_is_text_and_never_markup(page: Any, site: tuple[Server, str]) -> None:
    site[0].memory.scope(user_id=MARKUP).add(pairs=[(f"Who? {MARKUP}", f"{MARKUP} & <script>1</script>")])
    enter(page, MARKUP, MARKUP)
    page.wait_for_selector("#list .pair")
    assert page.inner_text("#list .a") == f"{MARKUP} & <script>1</script>"
    assert MARKUP in page.inner_text("#whose") and MARKUP in say(page, f"I live in {MARKUP}").inner_text()
    say(page, f"Who? {MARKUP}?")
    page.click("#tab-versions")
    page.get_by_text("What changed").first.click()
    page.wait_for_selector(".more")
    page.click("#tab-pairs")
    page.locator("#list").get_by_text("Forget").first.click()
    assert page.locator("img, main b:not(.what b), main script").count() == 0 and page.title() == "TMEM"


def test_it_is_used_by_keyboard_alone(page: Any) -> None:
    page.wait_for_function("document.activeElement.name === 'user'")
    page.keyboard.type("ana")
    page.keyboard.press("Enter")
    page.wait_for_selector("#main:visible")
    page.wait_for_function("document.activeElement.name === 'text'")
    page.keyboard.type("Where does Ana live?")
    page.keyboard.press("Enter")
    page.get_by_text("it was never told").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("/")  # from the log of the conversation
    assert page.evaluate("document.activeElement.name") == "query"
    page.focus("#tab-pairs")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-versions", "aria-selected") == "true"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-pairs"


def test_progress_is_shown_and_a_failure_says_what_is_wrong(page: Any, site: tuple[Server, str]) -> None:
    actions = site[0].actions
    enter(page)
    page.wait_for_selector("#main:visible")
    train, written = actions.trainer.train, Event()
    actions.trainer.train = lambda *given, **more: (written.wait(60), train(*given, **more))[1]
    actions.free.clear()
    page.fill("#say textarea", "I live in Lyon.")
    page.press("#say textarea", "Enter")
    page.get_by_text("reading what was said · 1 s").wait_for()
    actions.free.set()
    page.get_by_text("writing 1 pair into the weights").wait_for()
    written.set()
    page.get_by_text("Learned", exact=True).wait_for()
    turn = say(page, "What breaks?")
    assert "something went wrong in the server" in turn.inner_text()
    assert page.input_value("#say textarea") == "What breaks?"  # nothing that was typed is lost


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(page: Any, site: tuple[Server, str]) -> None:
    server, address = site
    key = server.keys.make("ben", "ben")
    enter(page)
    page.get_by_text("this needs a valid key").wait_for()
    enter(page, "ana", key=key)
    page.get_by_text("this key may not name another user").wait_for()
    enter(page, "", key=key)
    page.get_by_text("the memory of your key").wait_for()
    page.reload()
    page.get_by_text("the memory of your key").wait_for()
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector("#door:visible")
    page.click("#leave")
    page.wait_for_selector("#door:visible")
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0 and page.context.cookies() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(page: Any, site: tuple[Server, str], scheme: str) -> None:
    site[0].memory.scope(user_id="ana").add(pairs=[("What?" + "w" * 300, "m" * 300), ("Where does Ana live?", "Lyon")])
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    enter(page, "ana" * 50)
    page.click("#leave")
    enter(page)
    page.wait_for_selector("#main:visible")
    say(page, "w" * 300)
    for view in ("chat", "pairs", "versions", "health"):
        page.click(f"#tab-{view}")
        sleep(0.1)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for wide in page.locator("section:visible, section:visible *").all():
            box = wide.bounding_box()
            assert box is None or box["x"] + box["width"] <= 390.5
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 23, 21)"
    assert dark == (scheme == "dark")
