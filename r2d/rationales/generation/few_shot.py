"""Solved examples for a prompt: of the training split only, and the same whatever the order or the batch."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass

import pyarrow as pa

from r2d.config.rationales import EndpointSource
from r2d.data.examples import iterate_examples, split_of
from r2d.errors import DataError


@dataclass(frozen=True, slots=True, repr=False)
class Solved:
    """A training example with its rationale."""

    id: str
    group: str | None
    text: str
    label: str
    rationale: str

    def may_help(self, asked_id: str, asked_group: str | None, asked_text: str) -> bool:
        """Not for itself, not within its group (patient or caller), and not for a copy of its note."""
        same_group = self.group is not None and self.group == asked_group
        return self.id != asked_id and not same_group and self.text != asked_text


class FewShot:
    """Draws solved examples by consistent hashing.

    The training rows lie on a ring by the hash of seed and id; each draw of a question goes to a point of the ring and
    takes the next row that may help. So a row that is added or removed changes the few prompts beside it, and the
    answers to all others, already paid for, stay good.
    """

    def __init__(self, examples: pa.Table, source: EndpointSource) -> None:
        """Collect the training rows that have a rationale of `few_shot_source`.

        Raises:
            DataError: there are fewer of them than `few_shot`.
        """
        self.source = source
        self.ring: list[tuple[int, Solved]] = []
        if not source.few_shot:
            return
        name = str(source.few_shot_source)
        for row in iterate_examples(split_of(examples, "train")):
            if rationale := row.rationales.get(name, "").strip():
                solved = Solved(row.id, row.group, row.text, row.label, rationale)
                self.ring.append((self._point(row.id), solved))
        self.ring.sort(key=lambda item: (item[0], item[1].id))
        if len(self.ring) < source.few_shot:
            raise DataError(
                f"few_shot: {source.few_shot} solved examples are asked for, and {len(self.ring)} training rows have a "
                f"rationale of few_shot_source {name!r}; lower few_shot, or name another source in few_shot_source"
            )

    def of(self, asked_id: str, asked_group: str | None, asked_text: str) -> list[dict[str, str]]:
        """The solved examples for one question, in the order drawn.

        Raises:
            DataError: too few rows are left without the question's own group.
        """
        taken: dict[int, Solved] = {}
        for draw in range(self.source.few_shot):
            first = bisect_left(self.ring, self._point(asked_id, draw), key=lambda item: item[0])
            for step in range(len(self.ring)):
                place = (first + step) % len(self.ring)
                solved = self.ring[place][1]
                if place not in taken and solved.may_help(asked_id, asked_group, asked_text):
                    taken[place] = solved
                    break
        if len(taken) < self.source.few_shot:
            raise DataError(
                f"few_shot: example {asked_id} can be shown {len(taken)} solved examples, not {self.source.few_shot}: "
                f"itself, its group and copies of its note are left out; lower few_shot"
            )
        return [{"text": one.text, "label": one.label, "rationale": one.rationale} for one in taken.values()]

    def _point(self, *parts: object) -> int:
        named = "\0".join(map(str, (self.source.seed, *parts)))
        return int.from_bytes(hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()[:8], "big")
