"""Search a column of texts: Arrow's RE2 kernels set the candidate rows apart, Python looks at those alone."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.validation import PrivacyConfig, Recogniser
from r2d.errors import DataError
from r2d.privacy import birth_dates, contact, health_cards, national_ids, person_names, postal_codes, records
from r2d.privacy.finding import Detector, Finding, to_table, without_overlaps


def detectors(recogniser: Recogniser, region: str) -> tuple[Detector, ...]:
    """The ways of looking that make up a recogniser; `region` is that of national telephone numbers."""
    if recogniser == "phone":
        return (contact.phone_detector(region),)
    return _DETECTORS[recogniser]


_DETECTORS: dict[Recogniser, tuple[Detector, ...]] = {
    "email": (contact.EMAIL,),
    "date_of_birth": (birth_dates.DATE_OF_BIRTH,),
    "health_card": health_cards.HEALTH_CARD,
    "national_id": national_ids.NATIONAL_ID,
    "postal_code": postal_codes.POSTAL_CODE,
    "record_number": (records.RECORD_NUMBER,),
    "person_name": (person_names.PERSON_NAME,),
}


def find(texts: pa.Array | pa.ChunkedArray, config: PrivacyConfig) -> pa.Table:
    """Where identifiers stand, as a table of `FINDINGS_SCHEMA` whose `row` indexes `texts`; nulls hold none.

    Looks with `config.recognisers` and keeps what reaches `config.min_score`. `config.policy` is the caller's affair.
    """
    by_row: defaultdict[int, list[Finding]] = defaultdict(list)
    looks = [detector for recogniser in config.recognisers for detector in detectors(recogniser, config.region)]
    offset = 0
    for chunk in _string_chunks(texts):
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            candidates = list(pool.map(partial(candidate_rows, chunk), looks))
        for detector, rows in zip(looks, candidates, strict=True):
            for row, text in zip(rows.to_pylist(), chunk.take(rows).to_pylist(), strict=True):
                found = [finding for finding in detector.detect(text) if finding.score >= config.min_score]
                if found:
                    by_row[offset + row] += found
        offset += len(chunk)
    return to_table({row: without_overlaps(found) for row, found in by_row.items()})


def candidate_rows(texts: pa.Array, detector: Detector) -> pa.Array:
    """Indices of the rows that `detector` has to look at: everything else holds nothing for it."""
    hinted = pc.fill_null(pc.match_substring_regex(texts, detector.hint), False)
    return pc.indices_nonzero(hinted).cast(pa.int64())


def _string_chunks(texts: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    """The chunks of a column as plain string arrays, whatever kind of string it stores."""
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise DataError(
            f"the privacy search got a column of type {texts.type}; allowed: string, large_string, string_view, or a "
            "dictionary of them. Cast the column to string first"
        )
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return [chunk if chunk.type in (pa.string(), pa.large_string()) else chunk.cast(pa.string()) for chunk in chunks]
