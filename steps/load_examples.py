"""Step that reads the data as declared and gives every row its split."""

from typing import Annotated

import pyarrow as pa
from zenml import log_metadata, step

from r2d.config.data import DataConfig
from r2d.data import load
from steps.cache import by_code
from steps.materializers import TableMaterializer
from steps.private import private


@step(cache_policy=by_code(__name__), output_materializers=TableMaterializer)
@private
def load_examples(data: DataConfig, data_fingerprint: str) -> Annotated[pa.Table, "r2d_examples"]:
    """Examples from the configured source.

    Args:
        data: the `data` section of the run.
        data_fingerprint: hash of the files' contents; it is not read here, it makes changed data a new cache key.
    """
    examples = load.load_examples(data)
    log_metadata({"num_examples": examples.num_rows, "data_fingerprint": data_fingerprint, "format": data.format})
    return examples
