"""The command that shows: `r2d open`."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from mlops.pages import Kind, dashboard, find_page, show

app = typer.Typer()


@app.command("open", epilog="Example: r2d open gate --version reason2decide/1")
def open_page(
    page: Annotated[Literal[Kind, "dashboard"], typer.Argument(help="What to show.")] = "report",
    version: Annotated[
        str | None, typer.Option(help="Of the run of this version (name/version or name@alias), not of the newest run.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the dashboard on this machine.")] = 8237,
) -> None:
    """Show a page of the newest run in the browser, or print its path: evaluation, data, rationales, gate, dashboard.

    The dashboard runs until Ctrl-C.
    """
    if page == "dashboard":
        with dashboard(port, version) as address:
            show(address)
            typer.echo(f"{address}\nthe dashboard runs until Ctrl-C; this machine alone can reach it")
            while True:
                time.sleep(3600)
    found = find_page(page, version)
    if found.run != found.newest:
        typer.echo(f"the newest run, {found.newest}, has no such page; this is that of {found.run}", err=True)
    show(found.path.as_uri())
    typer.echo(found.path)
