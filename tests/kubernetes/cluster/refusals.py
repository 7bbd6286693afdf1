"""How the API server says no: an HTTP status and a `Status` object with a reason and a message."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """A request that is not carried out."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


def bad_request(message: str) -> RefusedError:
    return RefusedError(400, "BadRequest", message)


def unauthorized() -> RefusedError:
    return RefusedError(401, "Unauthorized", "Unauthorized")


def forbidden(message: str) -> RefusedError:
    return RefusedError(403, "Forbidden", message)


def not_found(what: str) -> RefusedError:
    return RefusedError(404, "NotFound", f"{what} not found")


def method_not_allowed(message: str) -> RefusedError:
    return RefusedError(405, "MethodNotAllowed", message)


def already_exists(what: str) -> RefusedError:
    return RefusedError(409, "AlreadyExists", f"{what} already exists")


def conflict(message: str) -> RefusedError:
    return RefusedError(409, "Conflict", message)


def unsupported_media_type(message: str) -> RefusedError:
    return RefusedError(415, "UnsupportedMediaType", message)


def invalid(message: str) -> RefusedError:
    return RefusedError(422, "Invalid", message)
