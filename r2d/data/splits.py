"""Train, validation and test: no group ever stands in two of them.

Rows are divided by hash, not by chance or order: a row's place depends on its group (else its id), the seed and,
weakly, on how many rows there are, so that a file that grows keeps nearly all rows where they were.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from r2d.config.data import SplitConfig
from r2d.data.examples import SPLITS
from r2d.errors import DataError
from r2d.text import first_of, show_name

Groups = dict[str, list[int]]


def assign_splits(
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    config: SplitConfig,
    *,
    given: Sequence[str] | None = None,
    test_ids: Collection[str] | None = None,
    source: str = "data",
    test_source: str = "data.split.test_ids",
) -> list[str]:
    """The split of each row, in the order of the rows.

    Args:
        ids: unique ids.
        labels: a group's stratum is the label of its first row in order of id.
        groups: patient or caller; a row without one is a group of its own.
        config: fractions and seed.
        given: the split of each row where the data knows it; nothing is then divided.
        test_ids: exactly these rows are test; `validation_fraction` is then one of the others.
        source: the data, for messages.
        test_source: what names the test rows, for messages.

    Raises:
        DataError: `test_ids` divide a group or hold an unknown id, or no row is left for train or validation. Given
            splits are taken as they are: `r2d.data.validation` judges them.
    """
    members: Groups = defaultdict(list)
    for index, (row_id, group) in enumerate(zip(ids, groups, strict=True)):
        members[group if group is not None else row_id].append(index)
    if given is not None:
        return list(given)
    if test_ids is not None:
        splits = _with_known_test(members, ids, labels, config, test_ids, source, test_source)
    else:
        fractions = {"test": config.test_fraction, "validation": config.validation_fraction}
        splits = _divide(members, ids, labels, fractions, config.seed)
    _check_none_empty(splits, len(members), source)
    return splits


def _with_known_test(
    members: Groups,
    ids: Sequence[str],
    labels: Sequence[str],
    config: SplitConfig,
    test_ids: Collection[str],
    source: str,
    test_source: str,
) -> list[str]:
    unknown = sorted(set(test_ids).difference(ids))
    if unknown:
        raise DataError(
            f"{source}: {len(unknown)} of the {len(set(test_ids))} ids in {test_source} are ids of no row: "
            f"{first_of([show_name(row_id) for row_id in unknown])}; correct that list or data.columns.id"
        )
    wanted = set(test_ids)
    known = ["test" if row_id in wanted else "rest" for row_id in ids]
    _check_groups_whole(members, known, source, f"name all rows of a group in {test_source}, or none")
    rest = {key: rows for key, rows in members.items() if known[rows[0]] == "rest"}
    divided = _divide(rest, ids, labels, {"validation": config.validation_fraction}, config.seed)
    return ["test" if place == "test" else split for place, split in zip(known, divided, strict=True)]


def _divide(
    members: Mapping[str, list[int]],
    ids: Sequence[str],
    labels: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Train for all rows but the fractions. The first split is taken from the front of each stratum's hash order, the
    second from its end, so that a moved border moves rows between one of them and train only."""
    strata: dict[str, list[str]] = defaultdict(list)
    for key, rows in members.items():
        strata[labels[min(rows, key=ids.__getitem__)]].append(key)
    for keys in strata.values():
        keys.sort(key=lambda key: (_hash(seed, key), key))
    left = {label: sum(len(members[key]) for key in strata[label]) for label in sorted(strata)}
    sizes = dict(left)
    splits = ["train"] * len(ids)
    for split, from_end in zip(fractions, (False, True), strict=False):
        owed = 0
        for label, target in _allocate(sizes, left, fractions[split]).items():
            keys = strata[label][::-1] if from_end else strata[label]
            taken = _take([key for key in keys if splits[members[key][0]] == "train"], members, target + owed)
            for index in (index for key in taken for index in members[key]):
                splits[index] = split
            num_taken = sum(len(members[key]) for key in taken)
            owed += target - num_taken
            left[label] -= num_taken
    return splits


def _allocate(sizes: Mapping[str, int], left: Mapping[str, int], fraction: float) -> dict[str, int]:
    """Rows of each stratum by largest remainder: they sum to the rounded fraction of all, as far as rows are left."""
    total = round(sum(sizes.values()) * fraction)
    quotas = {label: size * fraction for label, size in sizes.items()}
    targets = {label: min(int(quota), left[label]) for label, quota in quotas.items()}
    missing = total - sum(targets.values())
    for label in sorted(quotas, key=lambda label: (int(quotas[label]) - quotas[label], label)):
        if missing > 0 and targets[label] < left[label]:
            targets[label] += 1
            missing -= 1
    return targets


def _take(keys: Sequence[str], members: Mapping[str, list[int]], target: int) -> list[str]:
    """Groups in their order until the target is met as nearly as whole groups allow."""
    taken: list[str] = []
    missing = target
    for key in keys:
        size = len(members[key])
        if size < 2 * missing:
            taken.append(key)
            missing -= size
    return taken


def _hash(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _check_groups_whole(members: Groups, splits: Sequence[str], source: str, fix: str) -> None:
    crossing = {key: places for key, rows in members.items() if len(places := {splits[index] for index in rows}) > 1}
    if crossing:
        faults = [f"{show_name(key)} in {' and '.join(sorted(crossing[key]))}" for key in sorted(crossing)]
        raise DataError(
            f"{source}: {len(crossing)} group(s) stand in more than one split, so the test would know the patient: "
            f"{first_of(faults)}; {fix}, or correct data.columns.group"
        )


def _check_none_empty(splits: Sequence[str], num_groups: int, source: str) -> None:
    counts = Counter(splits)
    empty = [split for split in ("train", "validation") if not counts[split]]
    if empty:
        found = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
        raise DataError(
            f"{source}: no row in split {' and '.join(empty)} ({len(splits)} rows, {num_groups} groups: {found}); "
            "bring more rows or groups, or change the fractions in data.split"
        )
