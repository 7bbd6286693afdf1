"""Who is in the data: rows lost on the way by reason, and what each split holds."""

from __future__ import annotations

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, SlicesConfig
from r2d.data.examples import Example, to_table
from r2d.data.reading import Reading
from r2d.evaluation.cohort import cohort_of
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import NamedCount

LABELS = LabelsConfig(names=("now", "later"), ordered=True)


def examples():  # type: ignore[no-untyped-def]
    """30 training rows of 10 patients, 8 test rows, two of which have no patient."""
    return to_table(
        Example(
            id=f"r{n}", text="word " * (n + 1), label="now" if n % 3 else "later", split="train" if n < 30 else "test",
            group=None if n > 35 else f"p{n // 3}", rationale="" if n % 10 == 0 else "because",
            attributes={} if n == 37 else {"site": "north" if n % 2 else "south", "code": f"c{n}"},
        )
        for n in range(38)
    )  # fmt: skip


def test_each_split_is_counted() -> None:
    cohort = cohort_of(EvaluationRun(examples(), LABELS, EvaluationConfig(slices=SlicesConfig(max_values=5))))
    train, test = cohort.splits
    assert (train.split, train.num_rows, train.num_groups, train.num_without_group) == ("train", 30, 10, 0)
    assert (test.num_rows, test.num_groups, test.num_without_group, test.num_without_rationale) == (8, 4, 2, 1)
    assert (test.words_low, test.words_median, test.words_high) == (32.75, 34.5, 36.25)
    assert train.labels == (NamedCount(name="now", num_rows=20), NamedCount(name="later", num_rows=10))
    [site] = test.attributes
    assert (site.name, [value.name for value in site.values]) == ("site", ["north", "south", "(not given)"])
    assert [value.num_rows for value in site.values] == [3, 4, 1]
    assert [value.num_rows for value in train.attributes[0].values] == [15, 15, 0], "each split has the same lines"


def test_the_way_of_the_rows_says_why_some_were_lost() -> None:
    reading = Reading(num_read=50, left_out={"of forgotten groups": 2}, num_quarantined=10, quarantined={"no_text": 10})
    run = EvaluationRun(reading.attached_to(examples()), LABELS, EvaluationConfig(max_rows=5))
    flow = cohort_of(run).flow
    assert (flow.num_read, flow.num_quarantined, flow.num_used, flow.num_measured) == (50, 10, 38, 5)
    assert flow.num_read - flow.left_out[0].num_rows - flow.num_quarantined == flow.num_used
    assert flow.quarantined == (NamedCount(name="no_text", num_rows=10),)
    assert flow.not_measured == (NamedCount(name="not drawn (evaluation.max_rows)", num_rows=3),)
    assert cohort_of(EvaluationRun(examples(), LABELS, EvaluationConfig())).flow.num_read == 0, "not known"
