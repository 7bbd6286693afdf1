"""Vital signs: the values that notes show, and one threshold each, the same for all ages (a simplification)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vital:
    """One vital sign. A value is a text as in the note; of a blood pressure, the systolic part counts."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    phrase: str
    """For rationales; `{value}` is filled in."""
    limit: float
    high_is_abnormal: bool
    dangerous: bool = True
    """Whether an abnormal value alone calls for the emergency department."""

    def is_abnormal(self, value: str) -> bool:
        """Whether the value lies beyond the threshold."""
        number = float(value.split("/")[0])
        return number >= self.limit if self.high_is_abnormal else number < self.limit


FEVER_VALUES = ("38.2", "38.4", "38.6", "38.8", "39.0", "39.2")
"""Of somebody who reports a fever below the threshold."""

VITALS: dict[str, Vital] = {
    "temp": Vital(
        ("36.4", "36.6", "36.8", "37.0", "37.2"),
        ("39.6", "39.8", "40.0", "40.2", "40.4"),
        "a temperature of {value}", 39.5, high_is_abnormal=True, dangerous=False,
    ),
    "HR": Vital(
        ("66", "72", "78", "84", "88", "90", "96", "102", "110", "118"),
        ("132", "134", "138", "142", "146", "150"),
        "a heart rate of {value}", 131, high_is_abnormal=True,
    ),
    "SpO2": Vital(
        ("94", "95", "96", "97", "98", "99"),
        ("84", "86", "87", "88", "89", "90"),
        "an oxygen saturation of {value}", 92, high_is_abnormal=False,
    ),
    "RR": Vital(
        ("14", "16", "18", "20", "22", "24"),
        ("32", "34", "36", "38", "40"),
        "a breathing rate of {value}", 31, high_is_abnormal=True,
    ),
    "BP": Vital(
        ("112/70", "118/76", "124/78", "128/80", "132/82", "138/84"),
        ("76/44", "78/46", "82/50", "84/52", "86/54"),
        "a blood pressure of {value}", 90, high_is_abnormal=False,
    ),
}  # fmt: skip
"""Abnormal: temperature of 39.5 C or more, heart rate over 130, SpO2 under 92 %, over 30 breaths a minute, systolic
pressure under 90 mmHg."""
