"""Damaged characters and the language of notes: what people type is no damage, clipped English is not foreign."""

from __future__ import annotations

import base64

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ftfy.badness import badness
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.data import SyntheticTriageConfig
from r2d.data.text_quality import in_language, num_control_characters, num_markup, num_mojibake
from r2d.errors import ConfigError
from r2d.synthetic.calls import generate_calls

SOUND = [
    "temp 38.5°C, 5 µg given, pain ≥ 7/10 – “worse at night”, it’s sharp…",
    "Le patient se plaint de fièvre et de maux de cœur depuis l’été, très gêné à l’œil",
    "Übelkeit, Müdigkeit und Kopfschmerzen, Größe 180 cm, Straße",
    "niño con dolor de estómago ¿desde cuándo?",
    "患者は胸の痛みを訴えています",
    "Пациент жалуется на боль в груди",
    "line one\nline two\ttab\r\n",
    "👩‍⚕️ nurse, می‌خواهم",
    "",
]


def test_what_people_type_is_sound() -> None:
    assert num_control_characters(pa.array(SOUND)).tolist() == [0] * len(SOUND)
    assert num_mojibake(pa.array(SOUND)).tolist() == [0] * len(SOUND)


def test_characters_that_nobody_types_are_found_anywhere() -> None:
    for character in "\x00\x07\x1b\x7f\x85\x9f\u00ad\u200b\u202e\u2066\ufeff\ufffd\uffff":
        texts = pa.array([f"chest{character}pain", character, "chest pain", f"{character} pain{character}"])
        assert num_control_characters(texts).tolist() == [1, 1, 0, 2], hex(ord(character))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_utf8_read_in_another_encoding_is_found(encoding: str) -> None:
    sound = ["fièvre élevée", "it’s sharp", "Müdigkeit", "temp 38°C – hot", "“worse” at night", "5 µg", "à jeun"]
    damaged = [text.encode().decode(encoding, errors="replace") for text in sound]
    assert num_mojibake(pa.array(sound)).tolist() == [0] * len(sound)
    assert num_mojibake(pa.array(damaged)).min() > 0


@given(st.lists(st.text(alphabet="aZ .,-éÃÂ©â€™œŒ°ØÙВГРСΒΓà²€\u00a0\u0080", max_size=8), min_size=1, max_size=8))
@settings(max_examples=300)
def test_nothing_that_ftfy_calls_damaged_is_overlooked(texts: list[str]) -> None:
    assert num_mojibake(pa.array(texts)).tolist() == [badness(text) for text in texts]


def test_a_null_and_chunks_are_no_trouble() -> None:
    texts = pa.chunked_array([["a\x00", None], [], ["Ã©tÃ©"]], pa.string())
    assert num_control_characters(texts).tolist() == [1, 0, 0]
    assert num_mojibake(texts).tolist() == [0, 0, 2]


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
    is_english = in_language(pa.array([call.text for call in calls]), "en")
    assert pc.mean(is_english).as_py() == 1.0
    assert is_english.null_count < 10
    nurses = [call.rationales["nurse"] for call in calls]
    assert False not in in_language(pa.array(nurses), "en").to_pylist()


def test_sentences_of_another_language_are_found_and_what_cannot_be_told_is_left_open() -> None:
    assert in_language(pa.array([*FOREIGN, ENGLISH]), "en").to_pylist() == [False] * len(FOREIGN) + [True]
    assert in_language(pa.array([FOREIGN[0], ENGLISH]), "fr").to_pylist() == [True, False]
    unclear = ["", None, "ok", "12", "BP 120/80, 98%", "chest pain", "+++ --- 1234567890 :::"]
    assert set(in_language(pa.array(unclear, pa.string()), "en").to_pylist()) == {None}


def test_of_many_rows_the_same_sample_is_read_each_time() -> None:
    texts = pa.chunked_array([[ENGLISH] * 150, [FOREIGN[0]] * 50], pa.string())
    is_english = in_language(texts, "en", max_rows=100)
    assert len(is_english) - is_english.null_count == 100
    assert is_english.equals(in_language(texts, "en", max_rows=100))
    assert pc.mean(is_english).as_py() == pytest.approx(0.75, abs=0.1)


def test_an_unknown_language_is_a_fault_of_the_config() -> None:
    with pytest.raises(
        ConfigError, match=r"validation.language 'xx': this language cannot be recognised; allowed: af, "
    ):
        in_language(pa.array([ENGLISH]), "xx")


def test_markup_is_found_and_plain_text_is_not() -> None:
    coded = base64.b64encode(b"chest pain since two days").decode()
    marked = [r"{\rtf1\ansi pain\par}", "a <b>red</b> flag", "see<br/>below", "20&nbsp;mg", coded]
    plain = ["BP <90, p<0.05 and >3", "R&D; A & E", "<PERSON> called", "Hottentottenstottertrottel", None]
    assert (num_markup(pa.array(marked)) > 0).all()
    assert num_markup(pa.array(plain)).tolist() == [0] * len(plain)
