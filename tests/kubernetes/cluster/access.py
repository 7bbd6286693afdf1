"""Who may do what: bearer tokens stand for service accounts, whose rules are read from RBAC objects."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.cluster.refusals import forbidden
from tests.kubernetes.cluster.resources import Target
from tests.kubernetes.cluster.store import Object, Store

ADMIN = "admin"
"""A user whom nothing is refused, for the test itself."""

ANYBODY = {("create", "selfsubjectaccessreviews")}
"""What every authenticated user may do."""


@dataclass(frozen=True)
class Attempt:
    """What a user wants to do, in the words of RBAC."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, user: str, verb: str, target: Target) -> Attempt:
        return cls(user, verb, target.resource.group, target.full_resource, target.namespace, target.name)

    def forbidden(self) -> str:
        """The message of the refusal; it names the rule that is missing."""
        plural = self.resource.split("/")[0]
        what = f"{plural}.{self.group}" if self.group else plural
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return (
            f'{what}{f" {chr(34)}{self.name}{chr(34)}" if self.name else ""} is forbidden: User "{self.user}" '
            f'cannot {self.verb} resource "{self.resource}" in API group "{self.group}" {where}'
        )


class Access:
    """Authentication and authorisation."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._users: dict[str, str] = {}

    def token(self, user: str) -> str:
        """A new bearer token for a user."""
        token = secrets.token_urlsafe(24)
        self._users[token] = user
        return token

    def user(self, authorization: str) -> str | None:
        """Whom an `Authorization` header stands for. The in-cluster client writes `bearer` in lower case."""
        return self._users.get(re.sub(r"(?i)^bearer\s+", "", authorization).strip())

    def check(self, attempt: Attempt) -> None:
        """Let an attempt pass.

        Raises:
            RefusedError: 403, no rule allows it.
        """
        if not self.allows(attempt):
            raise forbidden(attempt.forbidden())

    def allows(self, attempt: Attempt) -> bool:
        if attempt.user == ADMIN or (attempt.verb, attempt.resource) in ANYBODY:
            return True
        return any(_rule_allows(rule, attempt) for rule in self._rules(attempt.user, attempt.namespace))

    def review(self, user: str, body: Object) -> Object:
        """Answer a SelfSubjectAccessReview from the same rules."""
        wanted = body["spec"].get("resourceAttributes")
        if wanted is None:
            return body | {"status": {"allowed": user == ADMIN, "reason": "only resources have rules here"}}
        resource = "/".join(filter(None, (wanted.get("resource", ""), wanted.get("subresource", ""))))
        attempt = Attempt(
            user=user,
            verb=wanted.get("verb", ""),
            group=wanted.get("group", ""),
            resource=resource,
            namespace=wanted.get("namespace", ""),
            name=wanted.get("name", ""),
        )
        allowed = self.allows(attempt)
        return body | {"status": {"allowed": allowed, **({} if allowed else {"reason": attempt.forbidden()})}}

    def _rules(self, user: str, namespace: str) -> Iterator[dict[str, Any]]:
        bindings = self.store.list("clusterrolebindings")
        bindings += self.store.list("rolebindings", namespace) if namespace else []
        for binding in bindings:
            home = binding["metadata"].get("namespace", "")
            if any(user == _subject(subject, home) for subject in binding.get("subjects") or []):
                role = binding["roleRef"]
                found = (
                    self.store.find("clusterroles", role["name"])
                    if role["kind"] == "ClusterRole"
                    else self.store.find("roles", role["name"], home)
                )
                yield from (found or {}).get("rules") or []


def service_account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def _subject(subject: dict[str, str], home: str) -> str:
    if subject["kind"] == "ServiceAccount":
        return service_account(subject.get("namespace", home), subject["name"])
    return subject["name"]


def _rule_allows(rule: dict[str, Any], attempt: Attempt) -> bool:
    names = rule.get("resourceNames")
    return (
        bool({attempt.verb, "*"} & set(rule["verbs"]))
        and bool({attempt.group, "*"} & set(rule.get("apiGroups") or []))
        and bool({attempt.resource, "*"} & set(rule.get("resources") or []))
        and (not names or attempt.name in names)
    )
