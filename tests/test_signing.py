"""Signatures by a key of one's own: what they hold for, whose they are, and which keys can be used."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from r2d.config.gate import SigningConfig
from r2d.errors import ConfigError, SignatureError
from r2d.signing import (
    Keys,
    folder_signature,
    key_id,
    key_id_of,
    record_signature,
    require_signed,
    sign_folder,
    sign_record,
)

RECORD = {"model": "m/1", "outcome": "passed", "value": 0.1 + 0.2, "reason": "größer", "none": None}


def make_keys(folder: Path, name: str = "model", curve: str = "prime256v1") -> Keys:
    """A new pair, by the commands of docs/operations.md."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    for command in (
        ["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", str(private)],
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    private.chmod(0o600)
    return Keys(private, (public,))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    """A signed folder."""
    folder = tmp_path / "signed"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "inner" / "config.json").write_text("{}")
    assert keys.private is not None
    sign_folder(folder, keys.private)
    return folder


def test_a_signed_folder_holds_wherever_it_lies_and_names_its_key(folder: Path, keys: Keys) -> None:
    assert keys.private is not None
    moved = folder.rename(folder.with_name("elsewhere"))
    require_signed(moved, "m/1", keys)
    assert str(folder_signature(moved, keys)) == f"signed by key {key_id(keys.public[0])}"
    assert key_id_of(keys.private) == key_id(keys.public[0])
    unchecked = folder_signature(moved, Keys(None, ()))
    assert str(unchecked).endswith("not checked: no public key is declared (R2D_PUBLIC_KEYS)")


@pytest.mark.parametrize("change", ["changed", "added", "removed", "signature of another key", "signature removed"])
def test_a_folder_that_changed_since_or_is_signed_by_nobody_known_is_refused(
    change: str, folder: Path, keys: Keys, tmp_path: Path
) -> None:
    expected = "what was signed has changed since"
    if change == "changed":
        (folder / "model.safetensors").write_bytes(b"Weights")
    elif change == "added":
        (folder / "inner" / "more.json").write_text("{}")
    elif change == "removed":
        (folder / "inner" / "config.json").unlink()
    elif change == "signature removed":
        (folder / "signature.json").unlink()
        expected = "m/1: not signed. Only what one of the declared keys has signed is used"
    else:
        other = make_keys(tmp_path, "other")
        assert other.private is not None
        sign_folder(folder, other.private)
        expected = f"the signature by key {key_id(other.public[0])} is wrong: declared is {key_id(keys.public[0])}"
    with pytest.raises(SignatureError) as caught:
        require_signed(folder, "m/1", keys)
    assert expected in str(caught.value)
    require_signed(folder, "m/1", Keys(None, ())), "where no public key is declared, nothing is checked"


def test_during_a_change_of_keys_both_hold(folder: Path, keys: Keys, tmp_path: Path) -> None:
    newer = make_keys(tmp_path, "newer", curve="secp384r1")
    both = Keys(newer.private, (*newer.public, *keys.public))
    require_signed(folder, "m/1", both)
    assert newer.private is not None
    sign_folder(folder, newer.private)
    require_signed(folder, "m/2", both)


@pytest.mark.parametrize("name", RECORD)
def test_a_record_holds_as_long_as_no_value_changes(name: str, keys: Keys) -> None:
    signed = sign_record(RECORD, keys)
    assert record_signature(dict(reversed(signed.items())), keys).is_checked
    changed: dict[str, Any] = {**signed, name: "other"}
    assert record_signature(changed, keys).fault == "what was signed has changed since"
    with pytest.raises(SignatureError, match=r"the decision: the signature by key .* is wrong: what was signed has"):
        record_signature(changed, keys).require("the decision", keys)


def test_without_a_private_key_a_record_stays_as_it_is_and_is_not_signed(keys: Keys) -> None:
    record = sign_record(RECORD, Keys(None, keys.public))
    assert record == RECORD
    assert str(record_signature(record, keys)) == "not signed"


@pytest.mark.parametrize("damage", [{}, {"verificationMaterial": {"publicKey": {}}}, [], "x"])
def test_a_signature_that_cannot_be_read_is_wrong_and_no_traceback(damage: Any, keys: Keys) -> None:
    signature = record_signature({**RECORD, "signature": damage}, keys)
    assert signature.fault is not None
    assert not signature.is_checked


def test_a_signature_with_the_id_of_another_key_does_not_hold(keys: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path, "other")
    forged = sign_record(RECORD, other)
    ours = sign_record(RECORD, keys)["signature"]["verificationMaterial"]["publicKey"]["hint"]
    forged["signature"]["verificationMaterial"]["publicKey"]["hint"] = ours
    assert record_signature(forged, keys).fault == "it was not made by that key"


def test_the_environment_counts_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SigningConfig(private_key="a.pem", public_keys=("a.pub",))
    assert Keys.declared(config) == Keys(Path("a.pem"), (Path("a.pub"),))
    monkeypatch.setenv("R2D_PRIVATE_KEY", "b.pem")
    monkeypatch.setenv("R2D_PUBLIC_KEYS", "b.pub:c.pub")
    assert Keys.declared(config) == Keys(Path("b.pem"), (Path("b.pub"), Path("c.pub")))


def encrypted(folder: Path) -> Keys:
    keys = make_keys(folder)
    command = ["openssl", "ec", "-in", str(keys.private), "-aes256", "-passout", "pass:x", "-out", str(keys.private)]
    subprocess.run(command, check=True, capture_output=True)
    return keys


def open_to_all(folder: Path) -> Keys:
    keys = make_keys(folder)
    assert keys.private is not None
    keys.private.chmod(0o644)
    return keys


FAULTS = {
    "missing": (lambda folder: Keys(folder / "no.pem", ()), "cannot be read (No such file or directory)"),
    "public in place of private": (lambda folder: Keys(make_keys(folder).public[0], ()), "holds no private key in PEM"),
    "private in place of public": (
        lambda folder: Keys(None, (Path(str(make_keys(folder).private)),)), "holds no public key in PEM",
    ),
    "encrypted": (encrypted, "is encrypted; give the key without a password"),
    "open to all": (open_to_all, "others may read or change it (mode 644); type chmod 600"),
    "another curve": (lambda folder: make_keys(folder, curve="secp256k1"), "its key is of secp256k1; allowed are"),
    "not a pair": (
        lambda folder: Keys(make_keys(folder).private, make_keys(folder, "other").public),
        "its public half is none of the public keys",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_key_that_cannot_be_used_is_named_with_what_to_do(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    with pytest.raises(ConfigError) as caught:
        make(tmp_path).require()
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


def test_keys_that_fit_are_accepted_and_a_pod_may_read_its_own_by_its_group(keys: Keys) -> None:
    assert keys.private is not None
    keys.private.chmod(0o440)
    keys.require()
