"""Step that reads the data as declared, gives every row its split, and applies the privacy policy before it is kept."""

from typing import Annotated

import pyarrow as pa
from zenml import log_metadata, step

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.data import load
from r2d.data.deidentify import deidentify_examples
from steps.cache import by_code
from steps.materializers import TableMaterializer
from steps.private import private


@step(
    cache_policy=by_code(__name__),
    output_materializers={"r2d_examples": TableMaterializer, "r2d_privacy_findings": TableMaterializer},
)
@private
def load_examples(
    data: DataConfig, privacy: PrivacyConfig, data_fingerprint: str
) -> tuple[Annotated[pa.Table, "r2d_examples"], Annotated[pa.Table, "r2d_privacy_findings"]]:
    """Examples from the configured source, identifying text replaced where the policy is `redact`, and what was found.

    Args:
        data: the `data` section of the run.
        data_fingerprint: hash of the files' contents; it is not read here, it makes changed data a new cache key.
    """
    deidentified = deidentify_examples(load.load_examples(data), privacy)
    examples = deidentified.examples
    log_metadata({"num_examples": examples.num_rows, "data_fingerprint": data_fingerprint, "format": data.format})
    return examples, deidentified.findings
