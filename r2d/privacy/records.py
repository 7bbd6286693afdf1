"""Numbers of records that hospitals and insurers keep: a number that the words before it call one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from r2d.privacy.finding import Detector, Finding

_NUMBER_WORD = r"(?:numbers?|num|no\.?|nr\.?|#|id\b|ident(?:ifier|ification)?)"
_SURE = r"\b(?:mrn|m\.r\.n\.?|mrno|mr ?#|med(?:ical)? rec(?:ord)?|urn\b|nhi|emrn|pt ?id|patient id)"
_NEEDS_NUMBER = (
    r"\b(?:chart|hospital|hosp|unit|account|acct|acc|encounter|visit|patient|pt|file|record|registration|case|"
    r"episode|admission|policy|member|subscriber|claim|accession|group|licen[cs]e|client|insurance)"
)
_JOIN = r"[\s:#=.\-(]{0,4}(?:(?:is|was|of|as)\b[\s:#]{1,2})?"
_VALUE = r"(?P<value>\d{2,3}(?: \d{2,3}){2,3}\b|(?:[A-Z]{1,4}[\-/]?)?\d(?:[\-/]?\d){3,14}(?:[\-/]?[A-Z]{1,2}\b)?)"
_END = r"(?![\w%]|[.,/\-]\d)"
_FLAGS = re.ASCII | re.IGNORECASE

_LABELS = (
    (rf"{_SURE}(?:[ ]?{_NUMBER_WORD})?{_JOIN}", 0.9),
    (rf"{_NEEDS_NUMBER}[ ]?{_NUMBER_WORD}{_JOIN}", 0.8),
)
_PATTERNS = [(re.compile(label + _VALUE + _END, _FLAGS), score) for label, score in _LABELS]
_YEARS = re.compile(r"(?:19|20)\d\d([\-/](?:19|20)\d\d)?")
_PUBLIC = re.compile(
    r"nct|isrctn|actrn|chictr|eudract|umin|crd|prospero|genbank|pubmed|pmid|pdb|refseq|swiss|uniprot|geo\b|array|"
    r"sequence|gene|trial|ethic|grant|protocol|clinicaltrials|identifier:? ?nct",
    re.IGNORECASE,
)
"""What is numbered in public: trials, genes, papers. Their registration and accession numbers identify no patient."""
_REACH = 40


def _detect(text: str) -> Iterator[Finding]:
    """Numbers after `MRN` and the like, and after `account`, `chart` ... with `number`, `no.`, `#` or `ID`."""
    for pattern, score in _PATTERNS:
        for match in pattern.finditer(text):
            around = text[max(0, match.start() - _REACH) : match.end()]
            if not _PUBLIC.search(around) and not _YEARS.fullmatch(match["value"]):
                yield Finding("record_number", *match.span("value"), score)


RECORD_NUMBER = Detector(hint="(?i)(?:" + "|".join(label for label, _ in _LABELS) + ")" + _VALUE, detect=_detect)
