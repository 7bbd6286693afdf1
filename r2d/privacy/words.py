"""Words of texts that may be kept where the texts may not: those that many share and that are no names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from r2d.config.privacy import PrivacyConfig
from r2d.privacy.deidentify import find_identifiers
from r2d.privacy.names import NOT_NAMES

MIN_GROUPS_WITH_WORD = 20
"""Groups that must have a word before it is kept, where no other number is declared."""


class SharedWords(NamedTuple):
    """The words of some texts that may be kept."""

    kept: frozenset[str]
    num_words: int
    """Different words of the texts."""
    num_rare: int
    """Of those left out: in too few groups. All others look like names."""

    def sentence(self, min_groups: int) -> str:
        """How many words are kept, and why the others are not. It names none."""
        rare = f"{self.num_rare:,} in the texts of fewer than {min_groups:,} groups, " if min_groups > 1 else ""
        num_names = self.num_words - len(self.kept) - self.num_rare
        return (
            f"{len(self.kept):,} of the {self.num_words:,} different words are learnt whole, and the others in pieces "
            f"of a few letters, so that the model lists no rare word and no name: {rare}{num_names:,} that look like "
            "names"
        )


def shared_words(
    texts: Sequence[str],
    groups: Sequence[str],
    divide: Callable[[str], Iterable[str]],
    *,
    min_groups: int = MIN_GROUPS_WITH_WORD,
    exempt: Collection[str] = (),
) -> SharedWords:
    """Choose the words that stand in the texts of at least `min_groups` groups and do not look like names.

    A word looks like a name where the recogniser of names has found it somewhere in the texts, or where it has a
    capital and is not as frequent in small letters, nor known to be no name (`not_names.yaml`).

    Args:
        groups: of each text: the patient or caller that it is about.
        divide: text -> its words.
        exempt: words that are kept in any case, as single characters are.
    """
    words_of_group: defaultdict[str, set[str]] = defaultdict(set)
    for text, group in zip(texts, groups, strict=True):
        words_of_group[group].update(divide(text))
    num_groups = Counter(word for words in words_of_group.values() for word in words)
    different = list(dict.fromkeys(texts))
    by_name = PrivacyConfig(policy="warn", recognisers=("person_name",), min_score=0.0)
    names = {
        word
        for row, findings in find_identifiers(pa.array(different, pa.string()), by_name).items()
        for finding in findings
        for word in divide(different[row][finding.start : finding.end])
    }
    kept, num_rare = set[str](), 0
    for word, count in num_groups.items():
        small = word.lower()
        is_plain = small in NOT_NAMES or word == small or (num_groups[small] >= min_groups and small not in names)
        if word in exempt or len(word) <= 1 or (count >= min_groups and word not in names and is_plain):
            kept.add(word)
        else:
            num_rare += count < min_groups
    return SharedWords(frozenset(kept), len(num_groups), num_rare)
