"""Checks on a rationale beside its note and its gold label, by plain word matching.

What a rationale says that its note does not (numbers, findings), what it gives away (copied words, the label), and what
`rationales.sources.<name>.quality` asks to be done about it. For `ungrounded` a finding counts as named, whether
affirmed or denied; `contradicts_text` reads negation (`r2d.rationales.claims`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from r2d.config.rationales import QualityConfig
from r2d.rationales.claims import ClaimChecker
from r2d.rationales.findings import Findings, Words, found_in, matches, plain_words, words_of
from r2d.rationales.labels import contains_label, mask_label
from r2d.rationales.records import Candidate, Reason
from r2d.rationales.tokens import read_tokens
from r2d.rationales.wording import is_refusal
from r2d.text import MARKUP, normalise_label


class QualityChecks:
    """The checks of one source."""

    def __init__(self, config: QualityConfig, candidates: Iterable[Candidate]) -> None:
        """Load the lexicon and count how many different texts share each rationale.

        Args:
            candidates: every record of the source that has a rationale.
        """
        self.config = config
        self.checker = ClaimChecker.of(config.findings_file, config.negation_file)
        texts: dict[str, set[str]] = {}
        for candidate in candidates:
            texts.setdefault(normalise_label(candidate.rationale), set()).add(normalise_label(candidate.text))
        self.num_texts = Counter({rationale: len(shared_by) for rationale, shared_by in texts.items()})

    def apply(self, candidate: Candidate) -> None:
        """Record which checks a candidate passes; drop, flag or mask the rationale as configured where it does not."""
        config, rationale, text = self.config, candidate.rationale, candidate.text
        # A label may hold a number of its own ("within three days"); that it is named is no claim about the patient.
        beyond = ungrounded(mask_label(rationale, candidate.gold), text, self.checker.findings)
        copied = copied_share(rationale, text)
        num_texts = self.num_texts[normalise_label(rationale)]
        num_repeats = longest_loop(rationale)
        claims = self.checker.claims(rationale, text)
        num_contradicted = sum(claim.verdict == "contradicted" for claim in claims)
        failed: dict[Reason, bool] = {}
        if candidate.label is not None or candidate.stated_label:
            agrees = normalise_label(candidate.label or "") == normalise_label(candidate.gold)
            failed["disagrees_with_gold"] = not agrees
        failed |= {
            "refusal": is_refusal(rationale),
            "loops": num_repeats > 0,
            "markup": has_markup(rationale),
            "too_short": len(rationale) < config.min_characters,
            "too_long": len(rationale) > config.max_characters,
            "copies_text": copied > config.max_copied_share,
            "repeated": num_texts > config.max_repeats,
            "ungrounded": bool(beyond.numbers or beyond.findings),
            "contradicts_text": num_contradicted > 0,
            "leaks_label": contains_label(rationale, candidate.gold),
        }
        candidate.checks_passed += [check for check, has_failed in failed.items() if not has_failed]
        if not any(failed.values()):
            return
        unknown = [(len(beyond.numbers), "number"), (len(beyond.findings), "finding")]
        details: dict[Reason, str] = {  # they quote nothing
            "loops": f"{num_repeats} times",
            "too_short": f"{len(rationale)} characters",
            "too_long": f"{len(rationale)} characters",
            "copies_text": f"{copied:.0%}",
            "repeated": f"{num_texts} texts",
            "ungrounded": ", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in unknown if count),
            "contradicts_text": f"{num_contradicted} finding{'s' * (num_contradicted > 1)}",
        }
        for check in [check for check, has_failed in failed.items() if has_failed]:
            action, detail = getattr(config, check), details.get(check, "")
            if action == "drop":
                candidate.reject(check, detail)
            else:
                candidate.faults.append(check)
                if action == "mask":
                    candidate.rationale = mask_label(rationale, candidate.gold)
                    candidate.edits.append("label masked")
                elif action == "flag":
                    candidate.flags.append(f"{check}: {detail}" if detail else check)


# --- what is no rationale ---

_MARKUP = re.compile(MARKUP.replace(r"\z", r"\Z"))
_MARKS_OF_MARKUP = re.compile(r"[<&{]|(?i:data:)|[A-Za-z0-9+/]{24}")  # of which each markup has one
_ITEM_MARK = re.compile(r"(?<!\w)\(?\d{1,2}\)\s")
_ONE_SENTENCE = re.compile(r"[^.!?。！？\n]+")
_ONE_CHARACTER = re.compile(r"([^\W_]|[!?。])\1{19,}|([^\W\d_]{2,16}?[,;]?)\2{7,}")
FEWEST_REPEATS = 3  # of a sentence, or of a run of words, that are a loop
FEWEST_WORDS = 8  # of a run with its repeats; emphasis repeats fewer
SHORTEST_LOOP = 16  # characters without a space in which one character, or a few, stand again and again
MOST_LENGTHS = 10  # of runs whose repeats are looked for


def has_markup(text: str) -> bool:
    """Whether a text holds RTF, elements or entities of HTML, data URIs or base64."""
    return _MARKS_OF_MARKUP.search(text) is not None and _MARKUP.search(text) is not None


def longest_loop(text: str) -> int:
    """How often the text says one thing again: a sentence of four words or more anywhere, a run of words or a character
    on end. 0 where nothing is said as often as a loop does."""
    pieces = text.split()
    is_long = max(map(len, pieces), default=0) >= SHORTEST_LOOP
    if is_long and (character := _ONE_CHARACTER.search(text)) is not None:
        return len(character.group())
    words, has_spaces = plain_words(text), len(text) < 12 * len(pieces)
    if has_spaces and len(words) - len(set(words)) < FEWEST_WORDS - 2:
        return 0
    plain = _ITEM_MARK.sub("", text.casefold()) if ")" in text else text.casefold()
    sentences = [sentence.strip() for sentence in _ONE_SENTENCE.findall(plain)]
    most = 0
    if len(sentences) - len(set(sentences)) >= FEWEST_REPEATS - 1:
        long = (
            count
            for sentence, count in Counter(sentences).items()
            if sentence.count(" ") >= 3 or (count >= 5 and " " in sentence) or (not has_spaces and len(sentence) >= 4)
        )
        most = max(long, default=0)
    return max(most if most >= FEWEST_REPEATS else 0, _repeats_on_end(words))


def _repeats_on_end(words: Words) -> int:
    """How often a run of words of any length follows itself; 0 where that is less than a loop does.

    The lengths that are tried are the distances at which three words stand again: a loop has many at one distance.
    """
    if len(words) - len(set(_runs(words, 3))) < FEWEST_WORDS - 2:
        return 0
    last: dict[Words, int] = {}
    distances = Counter[int]()
    for at, run in enumerate(_runs(words, 3)):
        if run in last:
            distances[at - last[run]] += 1
        last[run] = at
    most = 0
    for length, count in distances.most_common(MOST_LENGTHS):
        if count < FEWEST_REPEATS:
            break
        equal = longest = 0
        for word, earlier in zip(words[length:], words, strict=False):
            equal = equal + 1 if word == earlier else 0
            longest = max(longest, equal)
        longest += length + (length > 2)  # the last round may lack its `and`
        if longest >= max(FEWEST_REPEATS * length, FEWEST_WORDS):
            most = max(most, longest // length)
    return most if most >= FEWEST_REPEATS else 0


def copied_share(rationale: str, text: str) -> float:
    """Share of the rationale's word triples that occur in the text; 0 for a rationale without words.

    A rationale of one or two words counts as one item, copied where they are adjacent in the text.
    """
    words, source = plain_words(rationale), plain_words(text)
    size = min(3, len(words))
    if size == 0:
        return 0.0
    known, runs = set(_runs(source, size)), list(_runs(words, size))
    return sum(run in known for run in runs) / len(runs)


def _runs(words: Words, size: int) -> Iterator[Words]:
    return zip(*(words[start:] for start in range(size)), strict=False)


# --- numbers and findings ---


@dataclass(frozen=True, slots=True)
class Ungrounded:
    """What a rationale holds and its note does not, each once, in the order of the rationale."""

    numbers: tuple[str, ...]  # without thousands separators and needless zeros
    findings: tuple[str, ...]  # first forms of the lexicon, never the words of the rationale


def ungrounded(rationale: str, text: str, findings: Findings) -> Ungrounded:
    """Numbers and findings of a rationale that its note does not hold.

    The rationale is read strictly and the note generously, so that little is reported wrongly: of overlapping forms
    the rationale names only the longest, the note names all; `one` is a number only in the note; a digit inside a
    name, an ordinal, a list marker at the start of a line is none in the rationale. A form of several findings
    is grounded when the note has one of them. A denied finding counts like an affirmed one. Where labels hold numbers
    ("within 3 days"), give the rationale as `mask_label` returns it.
    """
    claimed_text, claimed = rationale.casefold(), list[tuple[int, str]]()
    if _DIGIT.search(claimed_text):
        claimed_text = _LIST_MARKER.sub(" ", claimed_text)
        claimed = [(match.start(), _canonical(match.group())) for match in _CLAIMED_NUMBER.finditer(claimed_text)]
    claimed += [(at, value) for at, word, value in _number_words(claimed_text) if word != "one"]
    in_note: set[str] = set()
    if claimed:
        note = text.casefold()
        in_note = {_canonical(digits) for pattern in (_NUMBER, _FRACTION) for digits in pattern.findall(note)}
        in_note.update(value for _, _, value in _number_words(note))
        in_note.update(value for value, pattern in (("1", _MEANS_ONE), ("2", _MEANS_TWO)) if pattern.search(note))
    numbers = [number for _, number in sorted(claimed) if number not in in_note]
    claims, position = list[Words](), 0
    for start, end, names in matches(words_of(rationale), findings.names):
        if start >= position:
            position = end
            claims.append(names)
    missing: list[str] = []
    if claims:
        words = read_tokens(text).words
        known = {name for _, _, found in found_in(words, findings.evidence) for name in found.names}
        missing = [
            name
            for names in claims
            if known.isdisjoint(names) and not any(findings.is_misspelt(name, words) for name in names)
            for name in names
        ]
    return Ungrounded(tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys(missing)))


_DIGIT = re.compile(r"[0-9]")
_LIST_MARKER = re.compile(r"^\s*\(?[0-9]{1,2}[.)](?=\s)", re.MULTILINE)
_DIGITS = r"(?>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER, _FRACTION = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?"), re.compile(r"\.[0-9]+")
_CLAIMED_NUMBER = re.compile(rf"(?=[0-9.])(?<![^\W_x])(?<![a-z]-)(?<![0-9]\.){_DIGITS}(?!st\b|nd\b|rd\b|th\b)")
"""Leaves out ordinals, and digits that belong to a name (SpO2, COVID-19), but for an x as in x3d."""
_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 10 * at for at, word in enumerate(_TENS, 2)}
_NUMBER_WORD = re.compile(
    rf"\b(?=[efnostz])(?:({'|'.join(_TENS)})(?:[\s-]+({'|'.join(_SMALL[1:10])}))?|({'|'.join(_SMALL)}))\b"
)
_MEANS_ONE = re.compile(r"\ban?\s+(?:second|minute|hour|day|night|week|fortnight|month|year)\b|\bonce\b")
_MEANS_TWO = re.compile(r"\btwice\b|\bboth\b|\bcouple\b|\bpair\b")


def _number_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Position, word and value of each number word up to ninety-nine."""
    for match in _NUMBER_WORD.finditer(text):
        yield match.start(), match.group(), str(sum(_VALUES[part] for part in match.groups() if part))


def _canonical(digits: str) -> str:
    """Digits without thousands separators and needless zeros."""
    whole, _, fraction = digits.replace(",", "").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
