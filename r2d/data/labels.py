"""Labels as files write them: what each value of a label column stands for, and what to say of values that stand for
nothing declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from r2d.config.data import LabelsConfig
from r2d.text import find_meaning, label_meanings, near_label, normalise_label, show_label, whole_number

MAX_SHOWN = 20
"""Different values of a label column that are listed with their counts; of more, most are counted only."""


class DeclaredLabels(NamedTuple):
    """The labels of all rows as they are declared, and how many were written in another way."""

    labels: list[str]  # as declared; what stands for nothing declared, as found
    translated: dict[tuple[str, str], int]
    """(code or synonym as declared, label) -> rows; other spellings of the label itself are not listed."""


def declared_labels(
    raw_labels: Sequence[str], labels: LabelsConfig, options: Sequence[Sequence[str]] = ()
) -> DeclaredLabels:
    """The declared label that each value stands for. No number is taken for a position.

    Args:
        raw_labels: without outer spaces.
        options: of each row, where `labels.per_row`.
    """
    if labels.per_row:
        pairs = zip(raw_labels, options, strict=True)
        return DeclaredLabels([_of_row(raw, row_options, labels.row_label) for raw, row_options in pairs], {})
    meanings = label_meanings(labels.names, labels.codes)
    counts = Counter(raw_labels)
    meaning = {raw: find_meaning(raw, meanings) or raw for raw in counts}
    names = {normalise_label(name) for name in labels.names}
    codes = {normalise_label(code): code for code in labels.codes}
    values = {whole_number(form): code for form, code in codes.items()}
    translated: Counter[tuple[str, str]] = Counter()
    for raw, count in counts.items():
        form = normalise_label(raw)
        value = whole_number(form)
        code = codes.get(form, values.get(value) if value is not None else None)
        if code is not None and form not in names and meaning[raw] in labels.names:
            translated[code, meaning[raw]] += count
    return DeclaredLabels([meaning[raw] for raw in raw_labels], dict(translated))


def _of_row(raw: str, options: Sequence[str], row_label: str) -> str:
    """The option of a row that its label cell names; the cell itself where it names none."""
    if row_label == "name":
        return raw if raw in options else find_meaning(raw, label_meanings(options)) or raw
    if row_label == "letter":
        letter = raw.strip("().: ").casefold()
        place = ord(letter) - ord("a") if len(letter) == 1 else -1
    else:
        number = whole_number(normalise_label(raw))
        place = -1 if number is None else int(number) - (row_label == "from_1")
    return options[place] if 0 <= place < len(options) else raw


def undeclared_rows(found: Sequence[str], labels: LabelsConfig, *, none: str = "no declared label") -> str:
    """How many rows have `none` of the labels, what is allowed and what stands there; empty where each row has one, or
    brings its own options.

    Args:
        found: the label of each row, as `declared_labels` gives it.
    """
    num_undeclared = 0 if labels.per_row else sum(label not in labels.names for label in found)
    if not num_undeclared:
        return ""
    allowed = f"allowed: {', '.join(map(repr, labels.names))}"
    listed = undeclared_labels(found, labels) or "found: empty cells"
    return f"{num_undeclared:,} of {len(found):,} rows have {none}, {allowed}; {listed}"


def undeclared_labels(found: Sequence[str], labels: LabelsConfig) -> str:
    """A sentence on values that stand for no declared label: each with its count, and the mapping to declare.

    Args:
        found: the label of each row, as `declared_labels` gives it; empty ones are passed over.
    """
    counts = Counter(value for value in found if value and value not in labels.names)
    if not counts or labels.per_row:
        return ""
    shown, codes, meant = Counter[str](), dict[str, None](), dict[str, str]()
    for value, count in counts.items():
        value = normalise_label(value) if value.isascii() else value
        text = show_label(value, labels.names)
        shown[text] += count
        if text == repr(value):
            codes[value] = None
        elif (label := near_label(value, labels.names)) is not None:
            meant[value] = label
    listed = ", ".join(f"{text} {count:,}" for text, count in shown.most_common(MAX_SHOWN))
    more = f" and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else ""
    sentence = f"found (rows): {listed}{more}"
    if 0 < len(meant) <= MAX_SHOWN:
        pairs = ", ".join(f"{_yaml_text(text)}: {_yaml_text(label)}" for text, label in meant.items())
        unused = [name for name in labels.names if name in meant.values() and name not in found]
        if unused:
            sentence += f"; no row holds {', '.join(map(repr, unused))}: is it misspelt in data.labels.names?"
        sentence += f"; correct typing errors in the file, or declare what they mean: data.labels.codes: {{{pairs}}}"
    if not codes or len(codes) > MAX_SHOWN:
        return sentence
    ordered = sorted(codes, key=lambda code: (len(code), code))
    # Levels counted from 1 of an ordered scale name their labels; 0 and 1 may mean either of two.
    levels = {str(level): name for level, name in enumerate(labels.names, 1)}
    meaning = levels if labels.ordered and codes.keys() <= levels.keys() else {}
    pairs = ", ".join(f"{_yaml_text(code)}: {_yaml_text(meaning.get(code, '?'))}" for code in ordered)
    fix = "once the code book agrees" if meaning else 'with a label in place of each "?"'
    return f"{sentence}; if these are codes, declare them, {fix}: data.labels.codes: {{{pairs}}}"


def _yaml_text(text: str) -> str:
    """A text as it can be written within a flow mapping of YAML."""
    is_plain = text.replace(" ", "").replace("-", "").isalnum() and not text.startswith("-")
    is_boolean = normalise_label(text) in ("yes", "no", "on", "off", "true", "false")
    return text if is_plain and not is_boolean else f'"{text}"'
