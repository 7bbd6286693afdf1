"""A declared key signs what is registered, decided and approved; with public keys, nothing else is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from mlops.registry.decisions import APPROVAL_TAG, DECISION_FILE
from mlops.registry.versions import download, require_trust
from r2d.config.run import RunConfig
from r2d.errors import SignatureError
from r2d.modeling.manifest import write_manifest
from r2d.signing import Keys, key_id
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, Typed, metrics, run_config
from tests.test_signing import make_keys

NOTE = "pt denies fever for 2 days"
GOOD, BETTER = metrics(decisions(0.8)), decisions(0.9, seed=2)
ASK = [{"rule": "human_approval"}]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def declared(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public key is declared in the environment; its id."""
    monkeypatch.setenv("R2D_PUBLIC_KEYS", str(keys.public[0]))
    return key_id(keys.public[0])


@pytest.fixture
def holder(keys: Keys, declared: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """So is the private one."""
    monkeypatch.setenv("R2D_PRIVATE_KEY", str(keys.private))
    return declared


def signed_run(name: str, keys: Keys, rules: Any = None) -> RunConfig:
    run = run_config(name, rules)
    signing = run.registration.signing.model_copy(update={"private_key": str(keys.private)})
    return run.model_copy(update={"registration": run.registration.model_copy(update={"signing": signing})})


@pytest.fixture(scope="module")
def signed(packaged: Register, keys: Keys) -> Any:
    """`sealed/1`, signed; `open/1`, not."""
    packaged(run_config("open"), GOOD)
    return packaged(signed_run("sealed", keys), GOOD)


def test_a_signed_version_predicts_where_its_key_is_declared_and_one_that_nobody_signed_does_not(
    signed: Any, declared: str, typed: Typed
) -> None:
    assert typed("predict", "--model", "sealed@champion", NOTE)[0] == 0
    code, output, errors = typed("predict", "--model", "open/1", NOTE)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert f"error: open/1: not signed. Only what one of the declared keys has signed is used ({declared}): " in errors


def test_a_signed_folder_that_was_changed_with_its_manifest_is_refused_as_folder_and_by_mlflow(
    signed: Any, declared: str, typed: Typed, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(download("sealed/1").parents[1], tmp_path / "exported"))
    folder = copied / "artifacts" / "model"
    assert typed("predict", "--model", str(folder), NOTE)[0] == 0
    mlflow.pyfunc.load_model(str(copied))
    (folder / "calibration.json").write_text(
        (folder / "calibration.json").read_text().replace('"threshold"', '"threshold" ')
    )
    write_manifest(folder)
    code, _, errors = typed("predict", "--model", str(folder), NOTE)
    assert code == 2
    assert f"the signature by key {declared} is wrong: what was signed has changed since" in errors
    with pytest.raises(Exception, match="what was signed has changed since"):
        mlflow.pyfunc.load_model(str(copied))


def test_a_signed_model_brings_what_checks_it_and_names_its_key(signed: Any, declared: str, typed: Typed) -> None:
    folder = download("sealed/1").parents[1]
    assert "model-signing==" in (folder / "requirements.txt").read_text()
    assert mlflow.MlflowClient().get_model_version("sealed", "1").tags["r2d.signed_by"] == declared
    code, output, _ = typed("lineage", "sealed/1", "--all")
    assert code == 0
    assert f"; signed by key {declared}\n" in output.split("metrics, on")[0]
    assert f"── signed by key {declared}\n" in output.split("files that are registered")[1]


def test_the_same_model_is_registered_once_a_key(packaged: Register, signed: Any, keys: Keys, tmp_path: Path) -> None:
    again = packaged(signed_run("sealed", keys), GOOD)
    assert (again.version, again.is_new) == ("1", False)
    other = packaged(signed_run("sealed", make_keys(tmp_path, "newer")), GOOD)
    assert (other.version, other.is_new) == ("2", True)


def test_a_run_does_not_start_where_its_champion_is_not_signed_or_its_key_cannot_be_used(
    signed: Any, keys: Keys, declared: str
) -> None:
    require_trust(run_config("sealed"), "sealed/1")
    require_trust(run_config("sealed", name="models:/sealed/1"), None)
    for run, champion in ((run_config("open"), "open/1"), (run_config("open", name="models:/open@champion"), None)):
        with pytest.raises(SignatureError, match=r"open(/1|@champion): not signed"):
            require_trust(run, champion)


def set_decision(name: str, version: str, **values: Any) -> None:
    """Change the record of the gate's decision, as somebody with access to the store could."""
    client = mlflow.MlflowClient()
    run_id = client.get_model_version(name, version).run_id
    record = mlflow.artifacts.load_dict(f"runs:/{run_id}/{DECISION_FILE}")
    client.log_dict(run_id, record | values, DECISION_FILE)


def test_an_approval_needs_a_signed_decision_is_signed_itself_and_counts_in_a_repeated_run(
    register: Register, keys: Keys, holder: str, typed: Typed
) -> None:
    run = signed_run("asked", keys, ASK)
    register(run, GOOD)
    code, output, _ = typed("approve", "asked/1", "--reason", "read fifty", "--by", "Dr. Who")
    assert (code, output) == (
        0,
        f"asked version 1 is the champion\nthe gate's decision on version 1: signed by key {holder}\n",
    )
    assert register(run, GOOD).decision.outcome == "passed"


def test_a_decision_that_was_changed_is_neither_approved_nor_gone_back_to(
    register: Register, keys: Keys, holder: str, typed: Typed
) -> None:
    register(signed_run("forged", keys), GOOD)
    register(signed_run("forged", keys), metrics(BETTER, decisions(0.8), reference="forged/1"))
    register(signed_run("forged", keys, ASK), metrics(decisions(0.95, seed=5), BETTER, reference="forged/2"))
    set_decision("forged", "3", champion="forged/1")
    set_decision("forged", "1", outcome="failed")
    for words in (("approve", "forged/3"), ("rollback", "forged")):
        code, output, errors = typed(*words, "--reason", "why")
        assert (code, output) == (2, "")
        assert f"the signature by key {holder} is wrong: what was signed has changed since" in errors
    assert mlflow.MlflowClient().get_registered_model("forged").aliases["champion"] == 2
    assert f"the signature by key {holder} is wrong" in typed("lineage", "forged/1")[1]


def test_a_decision_or_an_approval_of_another_version_does_not_count(
    register: Register, keys: Keys, holder: str, typed: Typed
) -> None:
    for name in ("own", "others"):
        register(signed_run(name, keys, ASK), GOOD)
    typed("approve", "others/1", "--reason", "why")
    client = mlflow.MlflowClient()
    approval = client.get_model_version("others", "1").tags[APPROVAL_TAG]
    client.set_model_version_tag("own", "1", APPROVAL_TAG, approval)
    assert register(signed_run("own", keys, ASK), GOOD).decision.outcome == "waiting"
    run_id = client.get_model_version("others", "1").run_id
    set_decision("own", "1", **mlflow.artifacts.load_dict(f"runs:/{run_id}/{DECISION_FILE}"))
    code, _, errors = typed("approve", "own/1", "--reason", "why")
    assert code == 2
    assert "the gate's decision on own/1: the signature by key" in errors
    assert "it is of others/1" in errors


def test_an_approval_that_nobody_signed_does_not_count_where_keys_are_declared(
    register: Register, declared: str, keys: Keys, typed: Typed, caplog: pytest.LogCaptureFixture
) -> None:
    register(signed_run("careless", keys, ASK), GOOD)
    code, _, errors = typed("approve", "careless/1", "--reason", "why")
    assert code == 2
    assert "an approval counts only if it is signed: set R2D_PRIVATE_KEY" in errors
    approval = {"by": "Dr. Who", "reason": "why", "at": "now", "champion": None}
    mlflow.MlflowClient().set_model_version_tag("careless", "1", APPROVAL_TAG, json.dumps(approval))
    assert register(signed_run("careless", keys, ASK), GOOD).decision.outcome == "waiting"
    assert "the approval by Dr. Who does not count: not signed" in caplog.text


def test_without_keys_all_is_as_before_and_says_not_signed(register: Register, typed: Typed) -> None:
    register(run_config("plain", ASK), GOOD)
    code, output, _ = typed("approve", "plain/1", "--reason", "why")
    assert (code, output.splitlines()[1]) == (0, "the gate's decision on version 1: not signed")
    assert "; not signed\n" in typed("lineage", "plain/1")[1]


def test_the_check_of_a_configuration_names_a_key_that_cannot_be_used(typed: Typed, tmp_path: Path) -> None:
    run = signed_run("checked", Keys(tmp_path / "none.pem", ())).model_dump(mode="json", exclude_none=True)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"parameters": {"config": run}}), encoding="utf-8")
    code, _, errors = typed("check", "--no-data", str(file))
    assert code == 2
    assert f"registration.signing, or the variables in its place: {tmp_path / 'none.pem'}: cannot be read" in errors
