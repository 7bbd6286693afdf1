"""The language of notes: clipped English is not foreign, what cannot be told is left open, a sample is enough."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from r2d.config.data import SyntheticTriageConfig
from r2d.data.language import in_language
from r2d.errors import ConfigError
from r2d.synthetic.calls import generate_calls

CLIPPED = [
    "62 yo w/ CP x1h, denies SOB", "34F abd pain x2d, N/V, no fever", "c/o HA since am, photophobia, neck stiff",
    "pt fell, L hip pain, unable to wt bear", "SOB x3d, hx COPD, sats 89% RA", "28 y/o G1P0 36wks, ctx q5min",
    "CP rad L arm, diaphoretic", "denies CP/SOB/N/V/D", "hx DM2, HTN, CKD", "LOC 30s, post ictal, hx sz",
    "HR 120 BP 90/60 T 38.9 RR 24 SpO2 91%", "Pt w/ N/V x2, abd TTP RLQ, +rebound, afebrile, WBC 14",
]  # fmt: skip
FOREIGN = [
    "Le patient se plaint de maux de tête et de fièvre depuis trois jours",
    "Patient klagt über Kopfschmerzen und Fieber seit drei Tagen",
    "O paciente queixa-se de dor no peito há duas horas e falta de ar",
    "患者は胸の痛みを訴えています。三日前から熱があります。",
    "Пациент жалуется на боль в груди и одышку",
]
ENGLISH = "Caller reports chest pain since this morning and has a history of heart disease."


@pytest.mark.parametrize("write", [str, str.upper, str.lower])
def test_clipped_nursing_english_is_never_called_foreign(write: object) -> None:
    notes = pa.array([write(note) for note in CLIPPED])  # type: ignore[operator]
    assert False not in in_language(notes, "en").to_pylist()


def test_notes_of_invented_calls_are_english() -> None:
    calls = generate_calls(SyntheticTriageConfig(num_calls=200, seed=3))
    found = in_language(pa.array([call.text for call in calls]), "en")
    assert pc.mean(found).as_py() == 1.0
    assert found.null_count < 10
    nurses = [call.rationales["nurse"] for call in calls if "nurse" in call.rationales]
    assert False not in in_language(pa.array(nurses), "en").to_pylist()


def test_sentences_of_another_language_are_found() -> None:
    assert in_language(pa.array([*FOREIGN, ENGLISH]), "en").to_pylist() == [False] * len(FOREIGN) + [True]
    assert in_language(pa.array([FOREIGN[0], ENGLISH]), "fr").to_pylist() == [True, False]


@pytest.mark.parametrize("text", ["", None, "ok", "12", "BP 120/80, 98%", "chest pain", "+++ --- 1234567890 :::"])
def test_what_cannot_be_told_is_left_open(text: str | None) -> None:
    assert in_language(pa.array([text], pa.string()), "en").to_pylist() == [None]


def test_of_many_rows_the_same_sample_is_looked_at_each_time() -> None:
    texts = pa.chunked_array([[ENGLISH] * 150, [FOREIGN[0]] * 50], pa.string())
    found = in_language(texts, "en", max_rows=100)
    assert len(found) - found.null_count == 100
    assert found.equals(in_language(texts, "en", max_rows=100))
    assert pc.mean(found).as_py() == pytest.approx(0.75, abs=0.1)


def test_an_unknown_language_is_a_fault_of_the_config() -> None:
    with pytest.raises(
        ConfigError, match=r"validation.language 'xx': this language cannot be recognised; allowed: af, "
    ):
        in_language(pa.array([ENGLISH]), "xx")
