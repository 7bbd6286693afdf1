"""The shipped generator of nurse-line calls, read like any other source."""

from __future__ import annotations

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.readers.rows import Rows


def read_synthetic_triage(config: DataConfig) -> Rows:
    """Generate the calls that `data.synthetic` asks for, with what nurses wrote; the LLM's rationales come as raw batch
    output (`rationales.sources`, format `synthetic_triage_batch`)."""
    from r2d.synthetic import generate_calls

    calls = generate_calls(config.synthetic)
    columns = {
        "id": [call.id for call in calls],
        "text": [call.text for call in calls],
        "label": [call.label for call in calls],
        "group": [call.group for call in calls],
    }
    for source in sorted({source for call in calls for source in call.rationales} - {"llm"}):
        columns[f"rationales.{source}"] = [call.rationales.get(source) for call in calls]
    for name in sorted({name for call in calls for name in call.attributes}):
        columns[f"attributes.{name}"] = [call.attributes.get(name) for call in calls]
    table = pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()})
    return Rows(table, "synthetic triage calls", {key: key for key in columns})
