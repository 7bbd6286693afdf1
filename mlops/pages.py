"""The pages of a run, found and shown: files of the artifact store, and ZenML's dashboard on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

from mlops.registry.versions import Reference, find_version, registry_client
from r2d.errors import R2DError
from r2d.files import work_root, write_text

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse, PipelineRunResponse

Kind = Literal["report", "data", "rationales", "gate"]
ARTIFACTS: dict[Kind, tuple[str, ...]] = {
    "report": ("r2d_evaluation_report",),
    "data": ("r2d_data_report", "r2d_data_report_of_a_stopped_run"),
    "rationales": ("r2d_ingestion_report", "r2d_ingestion_report_of_a_stopped_run"),
    "gate": ("r2d_gate_page",),
}
"""Page -> the artifacts of a run that can be it."""
PIPELINE = "reason2decide"
NUM_RUNS_LOOKED_AT = 20
SECONDS_TO_START = 120.0


@dataclass(frozen=True)
class Page:
    path: Path
    run: str
    """Name of its pipeline run."""
    newest: str
    """Name of the run that was asked for; another one than `run` where that has no such page."""


def find_page(kind: Kind, version: str | None = None) -> Page:
    """The page of the run of a registered version, by default of the newest run that has one.

    Raises:
        RegistryError: there is no such version, or no run of it.
        R2DError: no run has such a page.
    """
    runs = find_runs(version)
    for run in runs:
        outputs = {name: several[0] for step in run.steps.values() for name, several in step.outputs.items()}
        artifact = next((outputs[name] for name in ARTIFACTS[kind] if name in outputs), None)
        if artifact is not None:
            return Page(_file_of(artifact), run.name, runs[0].name)
    of = f"the run of {version}" if version else f"the newest {len(runs)} runs" if len(runs) > 1 else "the run"
    if not runs:
        raise R2DError(
            f"there is no run of {PIPELINE} yet; start one: zenml pipeline run {PIPELINE} --config YOURS.yaml"
        )
    raise R2DError(f"{of} ended before this page was made; what there may be: {', '.join(ARTIFACTS)}, dashboard")


def find_runs(version: str | None = None) -> list[PipelineRunResponse]:
    """The run that registered a version; without one the newest runs."""
    from zenml.client import Client

    if version is None:
        listed = Client().list_pipeline_runs(pipeline=PIPELINE, sort_by="desc:created", size=NUM_RUNS_LOOKED_AT)
        return list(listed.items)
    from mlops.lineage import pipeline_run

    with registry_client(f"looking for {version!r}") as client:
        found = find_version(client, Reference.parse(version), "name a version, such as reason2decide/1")
    return [Client().get_pipeline_run(UUID(pipeline_run(found).id))]


def _file_of(artifact: ArtifactVersionResponse) -> Path:
    """Path of the page; a copy that its owner alone reads where the artifact store is not on this machine."""
    path = Path(artifact.uri) / "output.html"
    if path.is_file():
        return path
    copy = work_root() / "pages" / f"{artifact.name}-{artifact.id}.html"
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_text(copy, str(artifact.load()))
    return copy


def show(address: str) -> bool:
    """Open an address in a browser; whether there is one."""
    has_screen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_screen and webbrowser.open(address)


@contextmanager
def dashboard(port: int, version: str | None = None) -> Iterator[str]:
    """Yield the address of a run in ZenML's dashboard, and hold the dashboard until the block ends.

    A server that is deployed has one already. Else one is started on this machine, reachable from it alone; the survey
    that ZenML asks of a new user there is answered first, with no address for its news.

    Raises:
        R2DError: it does not start.
    """
    from zenml.client import Client
    from zenml.utils.dashboard_utils import get_run_url

    runs = find_runs(version)
    if runs and (address := get_run_url(runs[0])) is not None:
        yield address
        return
    address = f"http://127.0.0.1:{port}"
    page = f"{address}/projects/{Client().active_project.name}" + (f"/runs/{runs[0].id}" if runs else "/pipelines")
    if _answers(address):
        raise R2DError(
            f"port {port} is in use, perhaps by a dashboard that runs already: open {page}, or name another with --port"
        )
    _answer_survey()
    log = work_root() / "logs" / "dashboard.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("zenml")), "login", "--local", "--blocking", "--port", str(port)]
    quiet = {"ZENML_AUTO_OPEN_DASHBOARD": "false", "ZENML_ANALYTICS_OPT_IN": "false"}
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env={**quiet, **os.environ})
    try:
        give_up_at = time.monotonic() + SECONDS_TO_START
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > give_up_at:
                raise R2DError(f"the dashboard did not start on port {port}; why is in {log}")
            time.sleep(0.5)
        yield page
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=10) as answer:  # nosec B310 # http to this machine
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _answer_survey() -> None:
    """Write down for this user that the survey and the tour are done, where nobody has answered them."""
    from zenml.client import Client
    from zenml.models import UserUpdate

    user, done = Client().active_user, {"finished_onboarding_survey": True, "overview_tour_done": True}
    if not done.items() <= user.user_metadata.items():
        opted_in = False if user.email_opted_in is None else user.email_opted_in
        update = UserUpdate(email_opted_in=opted_in, user_metadata={**user.user_metadata, **done})
        Client().zen_store.update_user(user.id, update)
