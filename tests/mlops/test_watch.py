"""What `r2d watch` finds, and that rules and dashboard ask for metrics that it writes."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from mlops.watch import WATCH, ModelState, RunState, State, beat, findings, metrics_of, publish
from r2d.config.jobs import WatchConfig
from r2d.errors import RegistryError
from tests.certificates import make_certificate

MONITORING = Path(__file__).resolve().parents[2] / "k8s" / "monitoring"
NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
CONFIG = WatchConfig(models=("m",), jobs={"retrain": 192.0, "backup": 30.0})


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def state(**changes: object) -> State:
    """A night on which all is well."""
    beats = {"retrain": hours_ago(100), "backup": hours_ago(3), WATCH: hours_ago(1)}
    runs = RunState({"completed": 3, "failed": 1}, hours_ago(100), 480.0, {"old": hours_ago(500)})
    model = ModelState({"champion": "3"}, {"champion": "3"}, {"3": hours_ago(100)}, {"macro_f1": 0.7})
    values = {"at": NOW, "beats": beats, "runs": {"reason2decide": runs}, "models": {"m": model}}
    return State(**values | changes)


def told(state: State) -> list[str]:
    return [f"{event}: {summary}" for event, summary, _ in findings(CONFIG, state)]


def test_nothing_is_told_where_all_is_well() -> None:
    assert told(state()) == []


def test_a_job_is_overdue_after_its_hours_and_where_it_never_succeeded() -> None:
    late = state(beats={"retrain": hours_ago(193)})
    assert told(late) == ["overdue: retrain last succeeded 193.0 hours ago", "overdue: backup has never succeeded"]


def test_runs_that_failed_since_the_last_look_are_told_once() -> None:
    runs = {"reason2decide": RunState({"failed": 2}, None, None, {"a": hours_ago(0.5), "b": hours_ago(2)})}
    assert told(state(runs=runs)) == ["run_failed: 1 run of reason2decide failed since the last look"]


def test_an_alias_that_was_moved_by_hand_is_told() -> None:
    moved = ModelState({"champion": "2"}, {"champion": "3"}, {"2": NOW}, {})
    assert told(state(models={"m": moved})) == ["alias_moved: m: an alias was moved by hand; the next run sets it back"]


def test_the_metrics_are_a_textfile_of_prometheus(tmp_path: Path) -> None:
    target = tmp_path / "collector" / "r2d.prom"
    publish(metrics_of(CONFIG, state(num_open_erasures=1, gate={("m", "failed"): 2})), str(target))
    lines = target.read_text(encoding="utf-8").splitlines()
    assert 'r2d_runs{pipeline="reason2decide",status="failed"} 1.0' in lines
    assert 'r2d_model_version{alias="champion",model="m"} 3.0' in lines
    assert 'r2d_gate_decisions{model="m",outcome="failed"} 2.0' in lines
    assert "r2d_open_erasures 1.0" in lines
    if (promtool := shutil.which("promtool")) is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=target.read_text(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_rules_and_dashboard_ask_only_for_metrics_that_are_written() -> None:
    written = set(re.findall(r"^# TYPE (\w+)", generate_latest(metrics_of(CONFIG, state())).decode(), re.MULTILINE))
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    asked = [rule["expr"] for rule in rules]
    asked += [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    assert set(re.findall(r"r2d_\w+", " ".join(asked))) <= written


def dashboard() -> dict[str, list[dict[str, list[dict[str, str]]]]]:
    return json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def test_promtool_takes_the_rules_what_they_fire_on_and_every_question_of_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing (Debian's package prometheus has it)")
    questions = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    rules = [{"record": f"dashboard:{number}", "expr": expr} for number, expr in enumerate(questions)]
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for command in (
        ["check", "rules", str(MONITORING / "rules.yml"), str(tmp_path / "dashboard.yml")],
        ["test", "rules", str(MONITORING / "rules_test.yml")],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_beat_is_read_again(store: str) -> None:
    from mlops.registry.versions import registry_client
    from mlops.watch import _beats

    beat("backup")
    with registry_client("reading") as client:
        assert datetime.now(UTC) - _beats(client)["backup"] < timedelta(minutes=1)


def test_metrics_are_pushed_by_tls_to_an_authority_that_is_trusted_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[bytes] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            pushed.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as gateway:
        gateway.socket = context.wrap_socket(gateway.socket, server_side=True)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        address = f"https://127.0.0.1:{gateway.server_port}"
        with pytest.raises(RegistryError, match="the Pushgateway did not take them"):
            publish(metrics_of(CONFIG, state()), address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        publish(metrics_of(CONFIG, state()), address)
        gateway.shutdown()
    assert len(pushed) == 1
    assert b"r2d_model_version" in pushed[0]
