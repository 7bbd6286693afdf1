"""`r2d stack apply`: the server's stack becomes that of the file, the difference is shown, and no secret is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops.stack import StackComponent, StackFile, changes, read_stack
from r2d.errors import ConfigError
from tests.kubernetes.manifests import ROOT, stack_session

STACK = ROOT / "k8s" / "stack.yaml"


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_REGISTRY", "registry.invalid")


@pytest.fixture
def stack() -> StackFile:
    return read_stack(STACK)


@pytest.fixture
def registered(stack: StackFile) -> dict[tuple[str, str], StackComponent]:
    """The components of the file as the server has them."""
    return {(type_, component.name): component.model_copy(deep=True) for type_, component in stack.components.items()}


@pytest.fixture(scope="module")
def applied() -> dict[str, list[str]]:
    """What `apply_stack` said to a real ZenML, in one situation after another."""
    return stack_session()["applied"]


def test_our_stack_has_every_part(stack: StackFile) -> None:
    assert {type_: component.flavor for type_, component in stack.components.items()} == {
        "orchestrator": "kubernetes",
        "artifact_store": "s3",
        "container_registry": "default",
        "image_builder": "local",
        "experiment_tracker": "mlflow",
        "model_registry": "mlflow",
    }
    assert stack.components["orchestrator"].configuration["pass_zenml_token_as_secret"] is True
    assert stack.secrets() == {"object-store": {"key", "secret"}, "mlflow": {"username", "password"}}


def test_what_the_environment_lacks_is_named_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("R2D_REGISTRY")
    path = tmp_path / "stack.yaml"
    path.write_text(STACK.read_text().replace("${R2D_BUCKET:-reason2decide}", "${R2D_BUCKET_NAME}"))
    with pytest.raises(ConfigError, match="not set in the environment: R2D_BUCKET_NAME, R2D_REGISTRY"):
        read_stack(path)


def test_a_faulty_file_is_refused_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text("name: Not Allowed\ncomponents: {orchestrator: {name: k, flavour: kubernetes}}")
    with pytest.raises(ConfigError) as caught:
        read_stack(path)
    assert "components.orchestrator.flavor: missing" in str(caught.value)
    assert "components.orchestrator.flavour: unknown key" in str(caught.value)
    assert "name: found 'Not Allowed'" in str(caught.value)


def test_pods_without_a_tracking_server_are_refused(tmp_path: Path) -> None:
    text, path = STACK.read_text(encoding="utf-8"), tmp_path / "stack.yaml"
    path.write_text(text[: text.index("  experiment_tracker:")], encoding="utf-8")
    with pytest.raises(ConfigError, match="experiment_tracker: found none; needed: 'mlflow' with a tracking_uri"):
        read_stack(path)
    path.write_text("name: here\ncomponents: {orchestrator: {name: default, flavor: local}}", encoding="utf-8")
    assert read_stack(path).name == "here"


def test_plain_http_is_refused_except_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_MLFLOW_URL", "http://mlflow.reason2decide.svc:5000")
    monkeypatch.setenv("R2D_S3_ENDPOINT", "HTTP://store.invalid")
    with pytest.raises(ConfigError) as caught:
        read_stack(STACK)
    store, tracker = "artifact_store.configuration.client_kwargs", "experiment_tracker.configuration.tracking_uri"
    assert f"components.{store}, components.{tracker}: found http://; needed: https://" in str(caught.value)
    for name in ("R2D_MLFLOW_URL", "R2D_S3_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:5000")
    assert read_stack(STACK)


def test_only_what_differs_from_the_server_is_changed(stack: StackFile, registered: Any) -> None:
    assert changes(stack, registered) == []
    registered["orchestrator", "kubernetes"].configuration["local"] = True
    (change,) = changes(stack, registered)
    assert change.updates == {"local": None}
    assert change.lines() == ["~ orchestrator kubernetes (kubernetes)", "    - local: True"]


def test_another_flavour_of_that_name_is_refused(stack: StackFile, registered: Any) -> None:
    registered["artifact_store", "object-store"] = StackComponent(name="object-store", flavor="local")
    with pytest.raises(ConfigError, match="found 's3', but 'object-store' is registered as 'local'"):
        changes(stack, registered)


def test_a_dry_run_shows_everything_and_changes_nothing(applied: dict[str, list[str]]) -> None:
    assert applied["dry run"] == applied["first"]
    assert "+ orchestrator kubernetes (kubernetes)" in applied["dry run"]
    assert applied["dry run"][-1] == "+ stack reason2decide"


def test_a_missing_secret_stops_before_anything_is_made_and_says_how_to_make_it(applied: dict[str, list[str]]) -> None:
    command = 'zenml secret create mlflow --values=@FILE, which holds {"password": "...", "username": "..."}'
    assert f"  no secret 'mlflow'; make it: {command}" in applied["without secrets"]
    assert any("zenml secret create object-store" in line for line in applied["without secrets"])


def test_a_second_call_changes_nothing_and_the_stack_is_active(applied: dict[str, list[str]]) -> None:
    assert applied["second"] == []
    assert applied["active"] == ["reason2decide"]


def test_a_changed_fact_is_shown_and_brought_over(applied: dict[str, list[str]]) -> None:
    assert applied["moved"] == [
        "~ artifact_store object-store (s3)",
        "    - path: s3://reason2decide",
        "    + path: s3://other",
    ]
    assert applied["moved, dry run"] == applied["moved"]
    assert applied["moved, again"] == []


def test_secrets_in_plain_text_and_unknown_keys_are_refused_together(applied: dict[str, list[str]]) -> None:
    text = "\n".join(applied["wrong"])
    assert "components.artifact_store.configuration.secret: is a secret in plain text" in text
    assert "zenml secret create NAME --values=@FILE`, with the key 'secret'" in text
    assert "components.orchestrator.configuration.in_cluster: unknown key" in text
    assert "abc" not in text, "a refused secret is not echoed"


def test_a_component_that_the_file_no_longer_has_leaves_the_stack(applied: dict[str, list[str]]) -> None:
    assert applied["smaller"] == ["~ stack reason2decide: model_registry mlflow -> none"]
    assert applied["smaller, again"] == []
    assert applied["restored"] == ["~ stack reason2decide: model_registry none -> mlflow"]
