"""The review page: what is shown when, what an action does, and who may ask."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import httpx2
import pytest
from playwright.sync_api import Page, sync_playwright
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.review import ReviewConfig
from r2d.config.serving import ServingConfig
from r2d.errors import ConfigError
from r2d.review.pages import COOKIE, ReviewPages, require_reviewable
from r2d.review.store import ReviewStore
from r2d.review.verdicts import verdicts_of
from r2d.serving.service import NOTICE
from tests.review.conftest import Review, a_case
from tests.serving.conftest import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> {{ 7 * 7 }}"


def sign_in(service: Running, name: str = "ann") -> None:
    service.client.cookies.clear()
    answer = service.client.post("/review/reviewer", json={"name": name})
    assert answer.status_code == 200
    assert "SameSite=strict" in answer.headers["set-cookie"]


def act(service: Running, number: int, kind: str, after: int, **rest: Any) -> httpx2.Response:
    return service.client.post(f"/review/cases/{number}", json={"kind": kind, "after": after, **rest})


class TestBlind:
    def test_the_models_answer_is_shown_after_the_reviewers_label(self, review: Review, store: ReviewStore) -> None:
        service = review()
        sign_in(service)
        before = service.client.get("/review/cases/1").text
        assert "fever is present" not in before
        assert "Here because" not in before
        assert service.client.get("/review/cases/1/evidence").status_code == 403
        for kind in ("accept", "correct", "unsafe"):
            refused = act(service, 1, kind, 0, label="self care")
            assert (refused.status_code, refused.json()["detail"]) == (409, "give your own label first")
        assert act(service, 1, "label", 0, label="emergency now").json() == {"next": "/review/cases/1"}
        after = service.client.get("/review/cases/1").text
        assert "fever is present" in after
        assert "the model says otherwise" in after
        assert act(service, 1, "label", 1, label="self care").status_code == 409, "it would be no blind label"

    def test_may_be_turned_off(self, review: Review) -> None:
        service = review(blind=False)
        sign_in(service)
        assert "fever is present" in service.client.get("/review/cases/1").text
        assert act(service, 1, "accept", 0).json() == {"next": "/review/cases/2"}


class TestActions:
    def test_are_kept_with_reviewer_time_case_and_model(self, review: Review, store: ReviewStore) -> None:
        service = review()
        sign_in(service, "Dr. Ünal")
        act(service, 1, "label", 0, label="emergency now")
        act(service, 1, "unsafe", 1, reason="a stroke is missed")
        done = act(
            service, 1, "correct", 2, label="emergency now", rationale=" other is present ", edits_the_model=True
        )
        assert done.json() == {"next": "/review/cases/2"}
        events = store.events()
        assert [(event.reviewer, event.number, event.kind, event.model) for event in events] == [
            ("Dr. Ünal", 1, kind, "toy/1") for kind in ("label", "unsafe", "correct")
        ]
        assert events[2].value == {"label": "emergency now", "rationale": "other is present", "edits_the_model": True}
        assert act(service, 1, "decline", 3).json()["detail"].startswith("you have done this case")
        assert act(service, 1, "undo", 3).json() == {"next": "/review/cases/1"}
        assert "other is present" in service.client.get("/review/cases/1").text, "the correction is there to go on from"
        assert act(service, 1, "accept", 4).status_code == 200

    def test_an_earlier_case_can_be_corrected_and_one_case_does_not_lock_another(
        self, review: Review, store: ReviewStore
    ) -> None:
        service = review(blind=False)
        sign_in(service)
        for number in (1, 2):
            assert act(service, number, "accept", 0).status_code == 200, "no other case makes a page stale"
        assert "Review this case again" in service.client.get("/review/cases/1").text
        stale = act(service, 1, "decline", 0)
        assert (stale.status_code, "meanwhile" in stale.json()["detail"]) == (409, True)
        assert act(service, 1, "undo", 1).json() == {"next": "/review/cases/1"}
        assert act(service, 1, "correct", 3, label="emergency now").json() == {"next": "/review/cases/3"}
        verdicts = verdicts_of(store.events())
        assert [verdicts["ann", number].outcome for number in (1, 2)] == ["corrected", "accepted"]
        assert act(service, 3, "undo", 0).json()["detail"] == "there is nothing to undo"

    def test_another_person_can_take_over_the_browser(self, review: Review) -> None:
        service = review()
        sign_in(service)
        assert "Not you?" in service.client.get("/review").text
        assert service.client.delete("/review/reviewer").json() == {"next": "/review"}
        assert "Who reviews?" in service.client.get("/review").text

    def test_the_models_rationale_left_as_it_is_is_no_rationale_of_the_reviewer(
        self, review: Review, store: ReviewStore
    ) -> None:
        service = review(blind=False)
        sign_in(service)
        act(service, 1, "correct", 0, label="emergency now", rationale="fever is present", edits_the_model=True)
        assert store.events()[-1].value == {"label": "emergency now"}

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"kind": "label", "after": 0, "label": "no such label"}, 409),
            ({"kind": "label", "after": 0}, 409),
            ({"kind": "steal", "after": 0}, 422),
            ({"kind": "label", "after": 0, "label": "self care", "who": "bob"}, 422),
            ({"kind": "skip", "after": 5}, 409),
            ({"kind": "undo", "after": 0}, 409),
            ({"kind": "skip", "after": 0, "reason": "a\x00b"}, 422),
            ({"kind": "correct", "after": 0, "label": "self care"}, 409),
        ],
    )
    def test_that_are_none_are_refused(
        self, review: Review, store: ReviewStore, body: dict[str, Any], status: int
    ) -> None:
        service = review()
        sign_in(service)
        assert service.client.post("/review/cases/1", json=body).status_code == status
        assert store.events() == []

    @pytest.mark.parametrize("rationale", ["NA", "I cannot provide medical advice."])
    def test_a_rationale_that_no_training_takes_is_said_to_be_one(
        self, review: Review, store: ReviewStore, rationale: str
    ) -> None:
        service = review(blind=False)
        sign_in(service)
        refused = act(service, 1, "correct", 0, label="self care", rationale=rationale)
        assert (refused.status_code, store.events()) == (409, [])
        assert "leave it empty" in refused.json()["detail"]

    def test_two_reviewers_who_differ_are_both_kept_and_their_agreement_is_shown(
        self, review: Review, store: ReviewStore
    ) -> None:
        service = review()
        for name, label in (("ann", "emergency now"), ("bob", "self care")):
            sign_in(service, name)
            act(service, 1, "label", 0, label=label)
            act(service, 1, "correct", 1, label=label)
        assert "you differ; both are kept" in service.client.get("/review/cases/1").text
        assert 'href="/review/agreement"' in service.client.get("/review").text
        agreement = service.client.get("/review/agreement").text
        assert "ann and bob" in agreement
        assert "fewer than 10 cases" in agreement
        act(service, 2, "label", 0, label="self care")
        assert '<th scope="row">bob and the model</th><td>2</td>' in service.client.get("/review/agreement").text


class TestViews:
    def test_what_is_done_is_listed_and_what_is_not_listed_is_counted(
        self, review: Review, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("r2d.review.pages.SHOWN_CASES", 1)
        service = review()
        sign_in(service)
        act(service, 2, "decline", 0)
        view = service.client.get("/review").text
        assert 'href="/review/cases/2">2</a>' in view
        assert "1 of 2 and 1 of 1" in view

    def test_characters_that_turn_the_direction_of_a_note_are_shown_by_their_numbers(
        self, review: Review, store: ReviewStore
    ) -> None:
        store.add_cases([a_case("d", "no fever \u202eniap tsehc\u202c here")])
        service = review(blind=False)
        sign_in(service)
        view = service.client.get("/review/cases/4").text
        assert "no fever [U+202E]niap tsehc[U+202C] here" in view
        assert "\u202e" not in view

    def test_a_blind_label_that_was_taken_back_is_said_to_stay(self, review: Review) -> None:
        service = review()
        sign_in(service)
        act(service, 1, "label", 0, label="self care")
        assert "You took that back" not in service.client.get("/review/cases/1").text
        act(service, 1, "undo", 1)
        assert "You took that back" in service.client.get("/review/cases/1").text

    @pytest.mark.parametrize("path", ["/review/cases/99", "/review/cases/x", "/review/nothing"])
    def test_a_person_gets_a_page_where_there_is_none(self, review: Review, path: str) -> None:
        service = review()
        sign_in(service)
        found = service.client.get(path)
        assert found.status_code == 404
        assert 'href="/review">All cases' in found.text
        assert service.client.get("/v1/nothing").json() == {"detail": "Not Found"}

    def test_a_locked_database_is_said_to_be_busy(
        self, review: Review, store: ReviewStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = review()
        sign_in(service)
        with sqlite3.connect(tmp_path / "reviews.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            refused = act(service, 1, "skip", 0)
            view = service.client.get("/review")
            other.execute("ROLLBACK")
        assert (refused.status_code, view.status_code) == (503, 503)
        assert "busy" in refused.json()["detail"]
        assert "did not answer: database is locked" in caplog.text  # a full disk is told apart
        assert "<h1>This page cannot be shown" in view.text
        assert act(service, 1, "skip", 0).status_code == 200


class TestDoor:
    def test_nobody_acts_without_a_name_and_no_form_of_another_page_can(
        self, review: Review, store: ReviewStore
    ) -> None:
        service = review()
        assert act(service, 1, "skip", 0).status_code == 401
        assert service.client.get("/review/cases/1").headers["location"] == "/review"
        sign_in(service)
        form = service.client.post("/review/cases/1", data={"kind": "skip", "after": "0"})
        assert form.status_code == 415
        rebound = service.client.get("/review", headers={"host": "evil.example"})
        assert rebound.status_code == 403
        assert store.events() == []

    def test_the_user_of_the_proxy_is_the_reviewer(self, review: Review, store: ReviewStore, tmp_path: Path) -> None:
        service = review(user_header="X-Forwarded-User")
        service.client.headers["X-Forwarded-User"] = "ann"
        service.client.cookies.set(COOKIE, "bob", path="/review")
        assert act(service, 1, "skip", 0).status_code == 200
        assert store.events()[0].reviewer == "ann"
        assert service.client.post("/review/reviewer", json={"name": "bob"}).status_code == 409
        ReviewStore(str(tmp_path / "reviews.db")).add_cases([a_case("of another process")])
        for name in ("Zoë".encode(), "Zoë".encode("latin-1"), "zoe\u0308".encode()):
            last = [event.ordinal for event in store.events() if event.number == 4]
            skipped = service.client.post(
                "/review/cases/4",
                json={"kind": "skip", "after": last[-1] if last else 0},
                headers={b"X-Forwarded-User": name},
            )
            assert skipped.status_code == 200
        assert [event.reviewer for event in store.events()] == ["ann", "Zoë", "Zoë", "Zoë"]
        assert service.client.get("/review").status_code == 200

    def test_people_get_a_page_whatever_refuses_them_and_programs_get_json(
        self, review: Review, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def break_down(_: ReviewPages) -> None:
            raise RuntimeError("pt reports chest pain")

        monkeypatch.setattr(ReviewPages, "_agreements", break_down)
        service = review(user_header="X-Forwarded-User", requests_per_minute=2)
        views = [
            service.client.get(f"/review{path}", headers={"X-Forwarded-User": user})
            for user, path in (("", ""), ("ann", "/cases/99"), ("ann", "/agreement"), ("ann", ""))
        ]
        assert [view.status_code for view in views] == [401, 404, 500, 429]
        for view in views:
            assert "<h1>This page cannot be shown" in view.text
            assert "chest pain" not in view.text
            assert "script-src 'self'" in view.headers["content-security-policy"]
        assert int(views[-1].headers["retry-after"]) >= 1
        for path in ("style.css", "review.js"):  # without which that page could hardly be read
            assert f"/review/{path}" in views[-1].text
            assert service.client.get(f"/review/{path}").status_code == 200
        refused = act(service, 1, "skip", 0), service.client.get("/metrics"), service.decide("a note")
        for answer in refused:
            assert answer.json() == {"detail": "the proxy names no user in X-Forwarded-User"}

    @pytest.mark.parametrize(
        ("values", "token", "message"),
        [
            ({"host": "0.0.0.0"}, "t" * 24, "nothing says who reviews"),
            ({}, "t" * 24, "no browser sends"),
            ({"host": "0.0.0.0", "user_header": "X-Forwarded-User"}, None, None),
            ({}, None, None),
        ],
    )
    def test_is_open_only_where_it_is_known_who_reviews(
        self, values: dict[str, Any], token: str | None, message: str | None
    ) -> None:
        config = ServingConfig(review=ReviewConfig(database="reviews.db"), **values)
        if message is None:
            require_reviewable(config, token)
        else:
            with pytest.raises(ConfigError, match=message):
                require_reviewable(config, token)


def ready(page: Page) -> None:
    """Wait until the page takes actions: at first it takes what is pressed for meant for the page before."""
    page.wait_for_selector("body:not(.fresh)")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_context(viewport={"width": 390, "height": 800}, reduced_motion="reduce").new_page()
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_every_view_is_accessible_calm_about_hostile_notes_and_worked_by_keys(
    review: Review, store: ReviewStore, page: Page
) -> None:
    hostile = a_case("d", HOSTILE, reasons=["findings"])
    hostile.answer.update(rationale=HOSTILE, remarks=[HOSTILE])
    store.add_cases([hostile])
    address = review().address
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def look(view: str) -> None:
        assert NOTICE in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], view  # type: ignore[index]
        # The policy of the page refuses a script that it did not bring itself; the driver's own way is not of the page.
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then(result => result.violations)")
        assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found] == [], view

    page.goto(f"{address}/review")
    look("sign-in")
    page.fill("#name", "ann")
    page.click("text=Begin")
    page.wait_for_selector("text=waiting for you")
    look("queue")
    page.goto(f"{address}/review/cases/4")
    look("blind")
    page.keyboard.press("1")
    ready(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Similar cases")
    assert page.inner_text(".note") == HOSTILE
    assert page.title() == "Case 4 · Reason2Decide"
    look("shown")
    page.set_viewport_size({"width": 1500, "height": 900})
    look("shown, wide")
    assert "Give up your label and accept “self care”" in page.inner_text("[data-act=accept]")
    page.keyboard.press("e")
    page.wait_for_function("document.querySelector('#rationale').value.length > 0")
    page.keyboard.type(" And more; a, d, s and z are letters here.")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    note = page.locator(".note").bounding_box()
    assert note is not None
    assert note["y"] >= 0, "the note is read while a rationale is written"
    ready(page)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/review/cases/1")
    assert "case 4: corrected, emergency now" in page.inner_text("header")
    page.uncheck("#keys")
    page.keyboard.press("d")
    page.check("#keys")
    ready(page)
    page.keyboard.press("Z")
    page.wait_for_url("**/review/cases/4")
    assert [event.kind for event in store.events()] == ["label", "correct", "undo"]
    assert store.events()[1].value["rationale"].endswith("letters here.")
    assert store.events()[1].value["edits_the_model"] is True
    assert complaints == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_nothing_typed_is_lost_and_nothing_is_done_that_nobody_meant(
    review: Review, store: ReviewStore, page: Page
) -> None:
    service = review(blind=False)
    address = service.address
    page.goto(f"{address}/review")
    page.fill("#name", "ann")
    page.click("text=Begin")
    page.wait_for_selector("text=waiting for you")

    def kinds() -> list[tuple[int, str]]:
        return [(event.number, event.kind) for event in store.events()]

    def is_told(words: str) -> None:
        page.wait_for_selector(f"#problem:has-text('{words}')")
        place = page.locator("#problem").bounding_box()
        assert place is not None
        assert 0 <= place["y"] < page.viewport_size["height"], "where the reviewer looks"  # type: ignore[index]

    page.goto(f"{address}/review/cases/1")
    page.keyboard.press("a")
    is_told("had only just appeared")
    ready(page)
    for key in "dddd":  # held down
        page.keyboard.down(key)
    page.keyboard.up("d")
    page.wait_for_url("**/review/cases/2")
    assert kinds() == [(1, "decline")]

    page.fill("#rationale", "words of mine")
    page.click("text=Edit the model's")
    is_told("words of yours")
    ready(page)
    page.click("[data-act=accept]")
    is_told("would leave out")
    page.fill("#reason", "a stroke is missed")
    page.click("text=Save correction")
    is_told("not flagged yet")
    page.click("text=Flag as unsafe")
    page.wait_for_selector("text=Flagged as unsafe")
    assert page.input_value("#rationale") == "words of mine"
    ready(page)
    page.click("text=Skip for now")
    page.wait_for_url("**/review/cases/3")
    page.goto(f"{address}/review/cases/2")
    assert page.input_value("#rationale") == "words of mine", "it waits in this tab"

    page.route(
        "**/review/cases/2", lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    )
    ready(page)
    page.click("text=Save correction")
    is_told("not known whether this was saved")
    page.unroute("**/review/cases/2")
    case = store.cases()[1]
    store.record("ann", case, "skip", {}, after=len(store.events()))  # in another window
    page.click("text=Save correction")
    is_told("answered meanwhile")
    page.click("text=Load the page again")
    page.wait_for_function("document.querySelector('#problem').hidden")
    ready(page)
    page.click("text=Save correction")
    page.wait_for_url("**/review/cases/3")
    assert kinds()[1:] == [(2, "unsafe"), (2, "skip"), (2, "skip"), (2, "correct")]
    assert store.events()[-1].value["rationale"] == "words of mine"
    assert page.evaluate("sessionStorage.length") == 0, "what was saved is kept by the service alone"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cases", "calls.csv"], "review.database: missing"),
        (["--review", "reviews.db", "--host", "0.0.0.0"], "nothing says who reviews"),
    ],
)
def test_the_command_refuses_before_it_loads_a_model(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2D_SERVE_TOKEN", "t" * 24)
    result = CliRunner().invoke(app, ["serve", *words])
    assert message in str(result.exception)
