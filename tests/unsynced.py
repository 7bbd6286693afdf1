"""SQLite that does not wait for the disk. A run of the pipeline commits some 600 times: on a slow disk they took as
long as all else. What a killed process has committed is there all the same; only a loss of power would take it. A
command in a process of its own (`anew`) waits, and so does an engine that asks for `FULL`."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, event


@event.listens_for(Engine, "connect")
def wait_for_no_disk(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
