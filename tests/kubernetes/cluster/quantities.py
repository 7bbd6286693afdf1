"""Resource quantities: `500m`, `16Gi`, `1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

_SCALES = {
    "": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9),
    "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
}  # fmt: skip
_QUANTITY = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")


def amount(quantity: Any) -> Fraction:
    """The exact number that a quantity stands for.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.match(str(quantity))
    if found is None:
        raise ValueError(f"quantities must match the regular expression {_QUANTITY.pattern!r}: {quantity!r}")
    return Fraction(found[1]) * _SCALES[found[2] or ""]


def amounts(quantities: Mapping[str, Any] | None) -> dict[str, Fraction]:
    """Each resource's amount."""
    return {name: amount(quantity) for name, quantity in (quantities or {}).items()}


def is_extended(resource: str) -> bool:
    """Whether a resource is counted in whole devices, as `nvidia.com/gpu` is."""
    return "/" in resource
