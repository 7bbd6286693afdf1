"""Division of rows into train, validation, calibration and test; no group ever stands in two of them.

Rows are divided by hash, not by chance or order: a row's split depends on its group (else its id), the seed and,
weakly, on the number of rows, so that a file that grows keeps nearly all rows where they were.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from r2d.config.data import SplitConfig
from r2d.data.examples import shown_splits
from r2d.errors import DataError
from r2d.text import FAULTS_SHOWN, first_of, plural


def assign_splits(
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    config: SplitConfig,
    *,
    test_ids: Collection[str] | None = None,
    source: str = "data",
    test_source: str = "data.split.test_ids",
) -> list[str]:
    """The split of each row, in the order of the rows.

    Args:
        ids: unique ids.
        labels: a group's stratum is the label of its first row in order of id.
        groups: patient or caller; a row without one is a group of its own.
        test_ids: exactly these rows are test; the other fractions are then of the other rows.
        source: the data, for messages; `test_source`: what names the test rows.

    Raises:
        DataError: `test_ids` divide a group or hold an unknown id, or no row is left for train, validation, or a
            calibration that is asked for.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, (row_id, group) in enumerate(zip(ids, groups, strict=True)):
        members[group if group is not None else row_id].append(index)
    held_out = {"validation": config.validation_fraction}
    if config.calibration_fraction:
        held_out["calibration"] = config.calibration_fraction
    if test_ids is None:
        splits = _divide(members, ids, labels, {"test": config.test_fraction} | held_out, config.seed)
    else:
        wanted = set(test_ids)
        if unknown := wanted.difference(ids):
            lengths = sorted({len(row_id) for row_id in unknown})
            raise DataError(
                f"{source}: {len(unknown)} of the {len(wanted)} ids in {test_source} are ids of no row (of "
                f"{lengths[0]} to {lengths[-1]} characters); correct that list or data.columns.id"
            )
        divided = [rows for rows in members.values() if len({ids[row] in wanted for row in rows}) > 1]
        if divided:
            faults = first_of([f"rows {', '.join(str(row + 1) for row in rows[:FAULTS_SHOWN])}" for rows in divided])
            raise DataError(
                f"{source}: {plural(len(divided), 'group stands', 'groups stand')} in more than one split, so the "
                f"test would know the patient: {faults}; name all rows of a group in {test_source}, or none, "
                "or correct data.columns.group"
            )
        rest = {key: rows for key, rows in members.items() if ids[rows[0]] not in wanted}
        splits = _divide(rest, ids, labels, held_out, config.seed)
        splits = ["test" if row_id in wanted else split for row_id, split in zip(ids, splits, strict=True)]
    counts = Counter(splits)
    empty = [split for split in ("train", *held_out) if not counts[split]]
    if empty:
        sizes = ", ".join(f"{counts[split]} {split}" for split in shown_splits(held_out))
        raise DataError(
            f"{source}: no row in split {' and '.join(empty)} ({len(splits)} rows, {len(members)} groups: {sizes}); "
            "bring more rows or groups, or change the fractions in data.split"
        )
    return splits


def _divide(
    members: Mapping[str, list[int]],
    ids: Sequence[str],
    labels: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> list[str]:
    """A split for every row, train for all but the fractions; whole groups of `members` (group -> its rows) move.

    The first split is taken from the front of each stratum's hash order, the others from its end, so that a moved
    border moves no row between the first and the others.
    """

    def digest(key: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()

    strata: dict[str, list[str]] = defaultdict(list)
    for key in sorted(members, key=lambda key: (digest(key), key)):
        strata[labels[min(members[key], key=ids.__getitem__)]].append(key)
    num_left = {label: sum(len(members[key]) for key in strata[label]) for label in sorted(strata)}
    sizes = dict(num_left)
    splits = ["train"] * len(ids)
    for place, split in enumerate(fractions):
        num_owed = 0
        for label, target in _allocate(sizes, num_left, fractions[split]).items():
            # Groups in their order until the target is met as nearly as whole groups allow.
            num_missing = num_wanted = target + num_owed
            for key in strata[label][::-1] if place else strata[label]:
                size = len(members[key])
                if splits[members[key][0]] == "train" and size < 2 * num_missing:
                    num_missing -= size
                    for row in members[key]:
                        splits[row] = split
            num_left[label] -= num_wanted - num_missing
            num_owed = num_missing
    return splits


def _allocate(sizes: Mapping[str, int], num_left: Mapping[str, int], fraction: float) -> dict[str, int]:
    """Rows of each stratum by largest remainder: they sum to the rounded fraction of all, as far as rows are left."""
    total = round(sum(sizes.values()) * fraction)
    quotas = {label: size * fraction for label, size in sizes.items()}
    targets = {label: min(int(quota), num_left[label]) for label, quota in quotas.items()}
    num_missing = total - sum(targets.values())
    for label in sorted(quotas, key=lambda label: (int(quotas[label]) - quotas[label], label)):
        if num_missing > 0 and targets[label] < num_left[label]:
            targets[label] += 1
            num_missing -= 1
    return targets
