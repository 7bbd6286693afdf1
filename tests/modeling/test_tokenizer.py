"""A tokenizer from scratch: it knows its corpus, and no person's name stands in it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from r2d.config.model import ModelConfig, ScratchConfig
from r2d.data.examples import Example, to_table
from r2d.modeling.tokenizer import TokenizerTexts, train_tokenizer
from tests.conftest import TOY_LABELS

RARE, FREQUENT = "Qanary", ("Zyxwvut", "OKAFORRA", "mbekiro", "Brennova")
"""A patient's name; names of staff that stand in every note: in capitals, in small letters, at a note's beginning."""


def notes(num_rows: int, *, group: str | None = None) -> pa.Table:
    """Notes, each with the names of staff, and those of one patient with a name of their own."""
    return to_table([
        Example(
            id=f"n{row}",
            text=f"Brennova, RN. {'Qanary has' if row < 12 else 'Patient has'} chest pain. Seen by Zyxwvut in Readings "
            f"today, mr mbekiro agrees. OKAFORRA signed; pain since {row} days, the patient rests",
            label=TOY_LABELS.names[row % 2],
            rationale=f"Chest pain, says Zyxwvut{' of Qanary' if row < 12 else ''}",
            rationale_source="nurse",
            group=group or ("qanary" if row < 12 else f"g{row}"),
            split="train",
        )
        for row in range(num_rows)
    ])  # fmt: skip


def tokenizer_file(examples: pa.Table, folder: Path, *, min_groups: int = 20, vocab_size: int = 4000) -> str:
    """All that `tokenizer.json` holds, in small letters."""
    scratch = ScratchConfig(vocab_size=vocab_size, min_groups_per_word=min_groups)
    model = ModelConfig(name="scratch", scratch=scratch)
    train_tokenizer(TokenizerTexts.of(examples, model, TOY_LABELS), scratch).save_pretrained(folder)
    return "".join(path.read_text(encoding="utf-8").casefold() for path in folder.iterdir())


def test_no_name_stands_whole_in_it_be_it_rare_or_frequent(tmp_path: Path) -> None:
    content = tokenizer_file(notes(60), tmp_path)
    assert [name for name in (RARE, *FREQUENT) if name.casefold() in content] == []
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert {"▁chest", "▁pain", "▁Patient", "▁Readings", "▁patient"} <= vocabulary.keys()
    longest = [max((token for token in vocabulary if token.strip("▁") in name), key=len) for name in (RARE, *FREQUENT)]
    assert max(len(token.strip("▁")) for token in longest) <= 3


@pytest.mark.parametrize(("rows", "groups", "known"), [(19, None, False), (20, None, True), (60, "one caller", False)])
def test_a_word_is_kept_whole_from_the_declared_number_of_groups_on(
    rows: int, groups: str | None, known: bool, tmp_path: Path
) -> None:
    examples = notes(rows + 12, group=groups).slice(12)
    assert ("▁chest" in tokenizer_file(examples, tmp_path)) == known


def test_a_row_without_a_group_is_a_group(tmp_path: Path) -> None:
    examples = notes(20)
    examples = examples.set_column(
        examples.column_names.index("group"), "group", pa.nulls(20, examples.schema.field("group").type)
    )
    assert "▁chest" in tokenizer_file(examples, tmp_path)


def test_a_name_that_every_group_has_is_left_to_pieces_even_where_one_group_is_enough(tmp_path: Path) -> None:
    content = tokenizer_file(notes(60), tmp_path, min_groups=1)
    assert [name for name in (RARE, *FREQUENT) if name.casefold() in content] == []


def test_labels_prompts_and_placeholders_are_kept_whole_for_they_are_no_cells(tmp_path: Path) -> None:
    examples = to_table([
        Example(id=f"r{row}", text="[PERSON_NAME_1] rings", label=TOY_LABELS.names[0], rationale="", group="g",
                rationale_source="", split="train")
        for row in range(3)
    ])  # fmt: skip
    tokenizer_file(examples, tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert {"▁emergency", "▁self", "▁explain", "▁given", "PERSON", "NAME"} <= vocabulary.keys()
    assert "▁rings" not in vocabulary


def test_it_survives_text_that_it_never_saw() -> None:
    text = "pt denies chest pain, HR 132, temp 39.4 (home)"
    texts = TokenizerTexts([text] * 50, [f"g{number}" for number in range(50)])
    tokenizer = train_tokenizer(texts, ScratchConfig(vocab_size=120))
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("無").input_ids[-1] == tokenizer.eos_token_id
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
