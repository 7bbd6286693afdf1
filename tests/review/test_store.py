"""The database of reviews: what is kept, that nothing of it changes, and what follows from it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from r2d.errors import DataError
from r2d.review.store import Case, Kind, ReviewStore, StaleError, reviewer_name
from r2d.review.verdicts import Verdict, is_edit_of, last_standing, verdicts_of, waiting_for
from tests.review.conftest import a_case


def act(store: ReviewStore, case: Case, kind: Kind, reviewer: str = "ann", **value: object) -> None:
    last = max((event.ordinal for event in store.events() if event.reviewer == reviewer), default=0)
    store.record(reviewer, case, kind, value, after=last)


def verdict(store: ReviewStore, number: int = 1, reviewer: str = "ann") -> Verdict:
    return verdicts_of(store.events())[reviewer, number]


class TestStore:
    def test_cases_come_back_as_they_were_and_an_id_is_added_once(self, store: ReviewStore) -> None:
        assert store.add_cases([a_case("b", text="another note"), a_case("d"), a_case("d")]) == 1
        cases = store.cases()
        assert [(case.case_id, case.number) for case in cases] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
        assert cases[1] == a_case("b", number=2)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE review_events SET reviewer = 'bob'",
            "DELETE FROM review_events",
            "INSERT OR REPLACE INTO review_events SELECT * FROM review_events",
            "UPDATE review_cases SET text = ''",
            "DELETE FROM review_cases",
            "INSERT OR REPLACE INTO review_cases SELECT * FROM review_cases",
        ],
    )
    def test_nothing_is_changed_or_deleted(self, store: ReviewStore, tmp_path: Path, statement: str) -> None:
        act(store, store.cases()[0], "decline")
        before = store.events(), store.cases()
        with (
            sqlite3.connect(tmp_path / "reviews.db") as connection,
            pytest.raises(sqlite3.IntegrityError, match="reviews are only ever added"),
        ):
            connection.execute(statement)
        assert (store.events(), store.cases()) == before

    def test_a_second_click_is_refused_and_keeps_nothing(self, store: ReviewStore) -> None:
        [case, *_] = store.cases()
        store.record("ann", case, "label", {"label": "self care"}, after=0)
        with pytest.raises(StaleError, match="meanwhile"):
            store.record("ann", case, "label", {"label": "emergency now"}, after=0)
        store.record("bob", case, "label", {"label": "emergency now"}, after=0)
        assert [(event.reviewer, event.value["label"]) for event in store.events()] == [
            ("ann", "self care"),
            ("bob", "emergency now"),
        ]

    def test_a_database_that_cannot_be_opened_is_named_without_its_password(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="give a file in a folder that exists"):
            ReviewStore(str(tmp_path / "nowhere" / "reviews.db"), create=True)
        with pytest.raises(DataError) as error:
            ReviewStore("nonsense://ann:hunter2@host/reviews")
        assert "hunter2" not in str(error.value)

    @pytest.mark.parametrize(
        ("table", "create", "message"),
        [
            ("wards (name)", False, "holds no reviews; give the database"),
            ("wards (name)", True, "is a database of something else"),
            ("review_cases (number)", True, r"review_cases is not one of reviews \(lacks the columns \['added_at'"),
        ],
    )
    def test_a_file_of_something_else_is_refused_and_left_as_it_is(
        self, tmp_path: Path, table: str, create: bool, message: str
    ) -> None:
        path = tmp_path / "foreign.db"
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE {table}")
        before = path.read_bytes()
        with pytest.raises(DataError, match=message):
            ReviewStore(str(path), create=create)
        assert path.read_bytes() == before

    def test_another_process_adds_cases_that_are_then_seen(self, store: ReviewStore, tmp_path: Path) -> None:
        assert len(store.cases()) == 3
        other = ReviewStore(str(tmp_path / "reviews.db"))
        other.add_cases([a_case("d")])
        act(other, other.cases()[3], "decline")
        assert [(event.number, store.cases()[event.number - 1].case_id) for event in store.events()] == [(4, "d")]

    def test_an_id_with_another_text_is_left_out_and_named(
        self, store: ReviewStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.add_cases(
            [a_case("a", text="A secret note."), a_case("b", text="PT reports  fever for 3 days. No rash.")]
        )
        assert "1 call has the id of a case with another text, which stays as it is: 'a';" in caplog.text
        assert "secret" not in caplog.text

    def test_a_name_is_one_reviewer_however_it_is_written(self, store: ReviewStore) -> None:
        name = reviewer_name("  Zoe\u0308\x00 \u202e Ann ")
        assert name == "Zoë Ann"
        act(store, store.cases()[0], "decline", name)
        assert store.spelling_of("zoë ann") == store.spelling_of(name) == name
        act(store, store.cases()[1], "decline", "zoë ann")
        assert store.spelling_of("zoë ann") == "zoë ann", "two who are there already stay two"
        assert reviewer_name("\x00\u200b") == ""

    def test_what_was_answered_is_on_disk_when_the_process_is_killed(self, tmp_path: Path) -> None:
        program = (
            "import sys\nfrom r2d.review.store import ReviewStore\n"
            "from tests.review.conftest import a_case\n"
            "store = ReviewStore(sys.argv[1], create=True)\nstore.add_cases([a_case('a')])\n[case] = store.cases()\n"
            "for number in range(10_000):\n"
            "    store.record('ann', case, 'unsafe', {'reason': 'r' * 500}, after=number)\n"
            "    print(number + 1, flush=True)\n"
        )
        path = tmp_path / "killed.db"
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            saved = [int(process.stdout.readline()) for _ in range(20)]
            os.kill(process.pid, signal.SIGKILL)
            saved += [int(line) for line in process.stdout if line.endswith("\n")]
        events = ReviewStore(str(path)).events()
        assert [event.ordinal for event in events][: len(saved)] == saved
        assert len(events) - len(saved) in (0, 1), "at most the one that was not yet answered"


class TestVerdicts:
    def test_a_label_before_the_models_is_kept_beside_what_follows(self, store: ReviewStore) -> None:
        [case, *_] = store.cases()
        act(store, case, "label", label="emergency now")
        assert verdict(store).label == verdict(store).blind_label == "emergency now"
        assert not verdict(store).is_done
        act(store, case, "accept", label="self care")
        assert verdict(store) == Verdict(
            "ann", 1, "accepted", "self care", "emergency now", sees_model=True, at=verdict(store).at, ordinal=2
        )

    def test_undo_takes_back_the_last_that_stands_and_the_model_stays_seen(self, store: ReviewStore) -> None:
        [case, *_] = store.cases()
        act(store, case, "label", label="emergency now")
        act(store, case, "correct", label="emergency now", rationale="why", edits_the_model=True)
        for expected in (2, 1):
            last = last_standing(store.events(), "ann")
            assert last is not None
            assert last.ordinal == expected
            act(store, case, "undo", undone=last.ordinal)
        assert last_standing(store.events(), "ann") is None
        after = verdict(store)
        assert (after.outcome, after.label, after.rationale, after.sees_model) == ("open", None, None, True)
        act(store, case, "correct", label="self care")
        assert verdict(store).blind_label == "emergency now", "a label after the model's is no blind one"

    def test_what_waits_is_begun_first_and_skipped_last(self, store: ReviewStore) -> None:
        first, second, third = store.cases()
        act(store, first, "skip")
        act(store, third, "label", label="self care")

        def waiting(reviewer: str) -> list[int]:
            return [case.number for case in waiting_for(reviewer, store.cases(), verdicts_of(store.events()))]

        assert waiting("ann") == [3, 2, 1]
        act(store, second, "decline")
        assert waiting("ann") == [3, 1]
        assert waiting("bob") == [1, 2, 3], "these cases are for everyone"

    def test_a_case_that_is_not_for_everyone_is_done_once(self, store: ReviewStore) -> None:
        store.add_cases([a_case("d", for_everyone=False)])
        act(store, store.cases()[3], "decline")
        waiting = waiting_for("bob", store.cases(), verdicts_of(store.events()))
        assert [case.case_id for case in waiting] == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("text", "is_edit"),
        [
            ("FEVER is present for 2 days, but the child drinks.", True),
            ("fever is present", True),
            ("Fever is present for three days without a rash. He lives alone and far from any hospital.", True),
            ("A sprained ankle that bears weight is seen on the same day.", False),
            ("", False),
        ],
    )
    def test_an_edit_keeps_words_of_the_model(self, text: str, is_edit: bool) -> None:
        assert is_edit_of(text, "Fever is present for three days without a rash.") is is_edit

    def test_two_who_work_at_once_share_the_cases(self, store: ReviewStore) -> None:
        store.add_cases([a_case(f"single {n}", for_everyone=False) for n in range(60)])
        num_done, num_rounds = 0, 0
        while True:
            verdicts = verdicts_of(store.events())
            opened = [(who, waiting_for(who, store.cases(), verdicts)) for who in ("ann", "bob")]
            if not any(waiting for _, waiting in opened):
                break
            num_rounds += 1
            for who, waiting in opened:
                if waiting:
                    act(store, waiting[0], "decline", who)
                    num_done += not waiting[0].for_everyone
        assert 60 <= num_done <= 66, "few of the 60 are done by both"
        assert num_rounds <= 36, "3 for everyone, and half of the others"

    def test_what_another_has_begun_comes_last(self, store: ReviewStore) -> None:
        store.add_cases([a_case(f"single {n}", for_everyone=False) for n in range(9)])
        first = waiting_for("bob", store.cases(), {})[3]
        act(store, first, "label", label="self care")
        assert waiting_for("bob", store.cases(), verdicts_of(store.events()))[-1] == first
