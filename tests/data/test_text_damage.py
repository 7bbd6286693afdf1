"""Damaged characters are found; what people type in any language is not called damage."""

from __future__ import annotations

import pyarrow as pa
import pytest
from ftfy.badness import is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.data.text_damage import control_characters, mojibake

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


@pytest.mark.parametrize("text", SOUND)
def test_what_people_type_is_sound(text: str) -> None:
    assert not control_characters(pa.array([text]))[0]
    assert not mojibake(pa.array([text]))[0]


@pytest.mark.parametrize("character", list("\x00\x07\x1b\x7f\x85\x9f\u00ad\u200b\u202e\u2066\ufeff\ufffd\uffff"))
def test_characters_that_nobody_types_are_found_anywhere(character: str) -> None:
    texts = pa.array([f"chest{character}pain", character, "chest pain", f"{character} pain"])
    assert control_characters(texts).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    "sound", ["fièvre élevée", "it’s sharp", "Müdigkeit", "temp 38°C – hot", "“worse” at night", "5 µg", "à jeun"]
)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_utf8_read_in_another_encoding_is_found(sound: str, encoding: str) -> None:
    damaged = sound.encode().decode(encoding, errors="replace")
    assert mojibake(pa.array([sound, damaged])).tolist() == [False, True]


@given(st.lists(st.text(alphabet="aZ .,-éÃÂ©â€™œŒ°ØÙВГРСΒΓà²€\u00a0\u0080", max_size=8), min_size=1, max_size=8))
@settings(max_examples=300)
def test_nothing_that_ftfy_calls_damaged_is_overlooked(texts: list[str]) -> None:
    assert mojibake(pa.array(texts)).tolist() == [is_bad(text) for text in texts]


def test_a_null_and_chunks_are_no_trouble() -> None:
    texts = pa.chunked_array([["a\x00", None], [], ["Ã©tÃ©"]], pa.string())
    assert control_characters(texts).tolist() == [True, False, False]
    assert mojibake(texts).tolist() == [False, False, True]
