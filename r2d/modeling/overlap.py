"""What a person is told of test rows that a model had seen. A file of its own, because commands that show figures
load neither numpy nor pyarrow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many of some test rows a model had seen, in training or in the choice of weights or threshold."""

    num_rows: int
    """The rows that were looked up."""
    num_seen: int
    """Those whose text or group it had seen."""
    num_same_row: int
    """Whose id and text it had seen together; then, whose text, and whose group."""
    num_same_text: int
    num_same_group: int
    num_with_group: int
    """Rows whose patient or caller is known; the others were looked up by text alone."""
    is_complete: bool = True
    """False where its training started from a model of ours without a record: it may have seen more."""
    finds_near_copies: bool = False
    """False where its record is of an earlier version, and in figures of one: texts with other signs were not found."""

    def sentence(self, who: str, *, had: str = "had") -> str:
        """Whether `who`, such as `the model`, had seen the rows; without a full stop."""
        rows = f"the {self.num_rows:,} test rows in training"
        compared = "compared by the letters and digits of their text" if self.finds_near_copies else "compared by text"
        if self.num_with_group:
            compared += f" and, for {self.num_with_group:,} of them, by patient or caller"
        compared += "; a reworded text is not found"
        if self.num_seen:
            seen = (
                f"{self.num_seen:,} of {rows} ({self.num_same_text:,} by text, {self.num_same_row:,} of these with the "
                f"same id; {self.num_same_group:,} by patient or caller)"
            )
        else:
            seen = f"none of {rows} ({compared})"
        if self.is_complete and self.finds_near_copies:
            return f"{who} {had} seen {seen}"
        limits = ["a model that it started from keeps no record of its rows"] * (not self.is_complete)
        limits += ["its record is of an earlier version, which finds no copies with other signs"] * (
            not self.finds_near_copies
        )
        return f"as far as is known, {who} {had} seen {seen}: {', and '.join(limits)}"

    def advice(self) -> str:
        """What to do about rows that were seen, for an error."""
        left = self.num_rows - self.num_seen
        drop = f"`drop`, which measures the other {left:,}, or to " if left else ""
        return (
            "give test rows that are new to it, or set evaluation.seen_rows (`r2d evaluate --seen-rows`) to "
            f"{drop}`allow`, which measures all of them and says so"
        )
