"""Label and field selectors of a list request."""

from __future__ import annotations

import re
from typing import Any

from tests.kubernetes.cluster.refusals import bad_request

FIELDS = {
    "pods": {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    },
    "secrets": {"type"},
    "events": {"involvedObject.kind", "involvedObject.name", "reason", "type"},
}
"""By which fields a real API server selects, besides name and namespace."""

_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([^\s!=]+)\s*(==|=|!=)\s*(\S*)$")
_EXISTS = re.compile(r"^(!?)\s*([\w./-]+)$")


def matches_labels(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels fulfil every requirement of `a=b,c!=d,e in (f,g),h,!i`."""
    return all(_label_matches(term.strip(), labels) for term in re.split(r",(?![^(]*\))", selector) if term.strip())


def _label_matches(term: str, labels: dict[str, str]) -> bool:
    if found := _SET.match(term):
        allowed = {value.strip() for value in found[3].split(",")}
        return (labels.get(found[1]) in allowed) == (found[2] == "in")
    if found := _EQUALITY.match(term):
        return (labels.get(found[1]) == found[3]) == (found[2] != "!=")
    if found := _EXISTS.match(term):
        return (found[2] in labels) != bool(found[1])
    raise bad_request(f"unable to parse requirement: {term!r}")


def matches_fields(selector: str, plural: str, item: dict[str, Any]) -> bool:
    """Whether an object fulfils every requirement of `status.phase=Pending,metadata.name!=x`."""
    allowed = FIELDS.get(plural, set()) | {"metadata.name", "metadata.namespace"}
    for term in filter(None, selector.split(",")):
        found = _EQUALITY.match(term.strip())
        if found is None:
            raise bad_request(f"invalid selector: {term!r}; can't understand it")
        if found[1] not in allowed:
            raise bad_request(f"field label not supported: {found[1]}")
        if (str(_field(item, found[1])) == found[3]) == (found[2] == "!="):
            return False
    return True


def _field(item: Any, path: str) -> Any:
    for name in path.split("."):
        item = (item or {}).get(name)
    return "" if item is None else item
