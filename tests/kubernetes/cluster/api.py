"""The API server of the test cluster: HTTPS, who may do what, what each request does to the store, the audit log."""

from __future__ import annotations

import copy
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from werkzeug.serving import make_ssl_devcert

from tests.kubernetes.cluster.admission import SCHEMA_VERSION, admit
from tests.kubernetes.cluster.objects import Address, Object, RefusedError, Store

ADMIN = "admin"
"""The user of the test itself, who may do everything."""
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATCH = "application/strategic-merge-patch+json"


class AuditEntry(NamedTuple):
    """A request that was allowed or refused."""

    user: str
    verb: str
    resource: str
    name: str
    code: int


def service_account(namespace: str, name: str) -> str:
    """The user name of a service account; of the administrator, where none is named."""
    return f"system:serviceaccount:{namespace}:{name}" if name else ADMIN


class Api:
    """Answers requests: bearer tokens say who asks, the Roles and RoleBindings in the store what they may do.

    Args:
        read_log: the output of the pod of a namespace and name.
    """

    def __init__(self, store: Store, read_log: Callable[[str, str], str]) -> None:
        self.store = store
        self.read_log = read_log
        self.audit: list[AuditEntry] = []
        self._users: dict[str, str] = {}

    def token(self, user: str) -> str:
        """A new bearer token for a user."""
        token = secrets.token_urlsafe(24)
        self._users[token] = user
        return token

    def allows(self, user: str, verb: str, address: Address) -> bool:
        """Whether a role that is bound to the user has a rule for this."""
        if user == ADMIN or (verb, address.plural) == ("create", "selfsubjectaccessreviews"):
            return True
        for binding in self.store.list("rolebindings", address.namespace) if address.namespace else []:
            subjects = [service_account(subject["namespace"], subject["name"]) for subject in binding["subjects"]]
            role = self.store.find("roles", binding["roleRef"]["name"], address.namespace)
            for rule in role["rules"] if user in subjects and role else []:
                is_of_resource = address.kind.group in rule["apiGroups"] and address.resource in rule["resources"]
                if is_of_resource and verb in rule["verbs"] and "resourceNames" not in rule:
                    return True
        return False

    def answer(self, request: Request, body: bytes) -> tuple[int, Object | str]:
        """Status code and content: an object, or the text of a log."""
        if request.url.path.rstrip("/") == "/version":
            return 200, _version()
        # The in-cluster client writes `bearer` in lower case.
        token = re.sub(r"(?i)^bearer\s+", "", request.headers.get("Authorization", "")).strip()
        with self.store.lock:
            try:
                if (user := self._users.get(token)) is None:
                    raise RefusedError(401, "Unauthorized", "Unauthorized")
                address = Address.from_path(request.url.path)
            except RefusedError as refusal:
                return refusal.code, refusal.status()
            verb = "list" if request.method == "GET" and not address.name else VERBS[request.method]
            try:
                if not self.allows(user, verb, address):
                    raise RefusedError(403, "Forbidden", _refusal(user, verb, address))
                # What goes out is a copy: the cluster goes on changing its own object.
                code, content = copy.deepcopy(self._serve(user, verb, address, request, json.loads(body or b"{}")))
            except RefusedError as refusal:
                code, content = refusal.code, refusal.status()
            self.audit.append(AuditEntry(user, verb, address.resource, address.name, code))
        return code, content

    def _serve(self, user: str, verb: str, address: Address, request: Request, body: Any) -> tuple[int, Object | str]:
        match verb, address.subresource:
            case "create", "" if address.plural == "selfsubjectaccessreviews":
                asked = body["spec"]["resourceAttributes"]
                target = Address(asked["resource"], asked["namespace"], subresource=asked.get("subresource", ""))
                return 201, body | {"status": {"allowed": self.allows(user, asked["verb"], target)}}
            case "create", "" if not address.name:
                return 201, self.store.create(address, admit(self.store, address, body))
            case "list", "" if "watch" not in request.query_params:
                return 200, self._list(address, request.query_params)
            case "get", "":
                return 200, self.store.get(address)
            case "get", "log":
                self.store.get(address)
                return 200, self.read_log(address.namespace, address.name)
            case "patch", "" if request.headers["Content-Type"] == PATCH:
                new = admit(self.store, address, merged(self.store.get(address), body), is_new=False)
                return 200, self.store.replace(address, new)
            case "delete", "" if address.name:
                return 200, self.store.delete(address)
        raise RefusedError(405, "MethodNotAllowed", f"the test cluster does not serve {request.method} {request.url}")

    def _list(self, address: Address, query: Mapping[str, str]) -> Object:
        labels, fields = (_parsed_selector(query.get(name)) for name in ("labelSelector", "fieldSelector"))
        if not set(fields) <= {"status.phase"}:
            raise RefusedError(400, "BadRequest", f"field label not supported: {query['fieldSelector']}")
        items = [
            item
            for item in self.store.list(address.plural, address.namespace)
            if labels.items() <= item["metadata"].get("labels", {}).items()
            and fields.get("status.phase") in (None, item.get("status", {}).get("phase"))
        ]
        return {"kind": f"{address.kind.name}List", "apiVersion": "v1", "metadata": {}, "items": items}


def merged(item: Any, patch: Any) -> Any:
    """A copy of an object with a patch applied: null removes, mappings are merged, scalars are replaced.

    Raises:
        RefusedError: 415, for a list: the test cluster does not know how the items of which list are merged.
    """
    if isinstance(patch, list):
        raise RefusedError(415, "UnsupportedMediaType", "the test cluster patches no lists")
    if not isinstance(patch, dict):
        return patch
    result = dict(item) if isinstance(item, dict) else {}
    for name, value in patch.items():
        result[name] = merged(result.get(name), value)
        if value is None:
            del result[name]
    return copy.deepcopy(result)


def _parsed_selector(selector: str | None) -> dict[str, str]:
    """The terms of `a=b,c=d`, the only form that ZenML and our own client send."""
    terms = dict(term.partition("=")[::2] for term in selector.split(",")) if selector else {}
    if any(not value or re.search(r"[!=\s]", name + value) for name, value in terms.items()):
        raise RefusedError(400, "BadRequest", f"the test cluster does not know the selector {selector!r}")
    return terms


def _refusal(user: str, verb: str, address: Address) -> str:
    """The message of a refused request; it names the rule that is missing."""
    name = f' "{address.name}"' if address.name else ""
    where = f'in the namespace "{address.namespace}"' if address.namespace else "at the cluster scope"
    return (
        f'{address.qualified}{name} is forbidden: User "{user}" cannot {verb} resource "{address.resource}" '
        f'in API group "{address.kind.group}" {where}'
    )


def _version() -> Object:
    major, minor = SCHEMA_VERSION.split(".")
    facts = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "")
    return {"major": major, "minor": minor, "gitVersion": f"v{SCHEMA_VERSION}.0-test", **facts}


class Certificate(NamedTuple):
    """PEM files: a certificate for `localhost`, which is its own authority, and its key."""

    path: Path
    key: Path

    @classmethod
    def made(cls, folder: Path) -> Certificate:
        folder.mkdir(parents=True)
        return cls(*map(Path, make_ssl_devcert(str(folder / "server"), cn="localhost")))


class HttpsServer:
    """Serves on 127.0.0.1 from a thread of its own; the port is known before it starts."""

    def __init__(self, certificate: Certificate) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._tls = {"ssl_certfile": certificate.path, "ssl_keyfile": certificate.key}

    def start(self, answer: Callable[[Request, bytes], tuple[int, Any]]) -> None:
        """Answer every request by `answer`, which returns a status code and either text or JSON."""

        async def endpoint(request: Request) -> Response:
            code, content = await run_in_threadpool(answer, request, await request.body())
            return PlainTextResponse(content, code) if isinstance(content, str) else JSONResponse(content, code)

        app = Starlette(routes=[Route("/{path:path}", endpoint, methods=list(VERBS))])
        config = uvicorn.Config(app, **self._tls, lifespan="off", log_level="error", timeout_keep_alive=3600)
        self._server = uvicorn.Server(config)
        arguments = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=arguments, name="https", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
