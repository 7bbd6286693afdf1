"""Signatures of model folders and of records by an elliptic-curve key of one's own.

Format and arithmetic are those of OpenSSF's `model-signing` (a Sigstore bundle), an extra: `reason2decide[signing]`. A
key is called by its id, the first digits of the SHA-256 of its public half, as the bundle has it. Keys are named by
their paths, and nothing of a private key is written anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from r2d.errors import ConfigError, SignatureError

if TYPE_CHECKING:
    from r2d.config.gate import SigningConfig

SIGNATURE_FILE, SIGNATURE = "signature.json", "signature"
"""Where a folder keeps its signature, and the key of a record's."""
PRIVATE_KEY_VARIABLE, PUBLIC_KEYS_VARIABLE = "R2D_PRIVATE_KEY", "R2D_PUBLIC_KEYS"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
SHOWN_DIGITS = 16
NO_PUBLIC_KEY = f"no public key is declared ({PUBLIC_KEYS_VARIABLE})"
Bundle = Mapping[str, Any]


@dataclass(frozen=True)
class Signature:
    """What a signature was found to be."""

    key_id: str | None
    """None where there is no signature."""
    is_checked: bool = False
    """False where no public key is declared."""
    fault: str | None = None
    """Why it does not hold."""

    def __str__(self) -> str:
        if self.key_id is None:
            return "not signed"
        if self.fault is not None:
            return f"the signature by key {self.key_id} is wrong: {self.fault}"
        return f"signed by key {self.key_id}" + ("" if self.is_checked else f", not checked: {NO_PUBLIC_KEY}")

    def require(self, what: str, keys: Keys) -> None:
        """Refuse `what` where public keys are declared and none of them has signed it.

        Raises:
            SignatureError: it is not signed, or not by one of them, or was changed since.
        """
        if keys.public and (self.key_id is None or self.fault is not None):
            raise SignatureError(
                f"{what}: {self}. Only what one of the declared keys has signed is used "
                f"({', '.join(map(key_id, keys.public))}): name a version that is, declare its key "
                f"({PUBLIC_KEYS_VARIABLE}, registration.signing.public_keys), or register the model anew"
            )


@dataclass(frozen=True)
class Keys:
    """The keys that are declared: PEM files of P-256, P-384 or P-521, unencrypted."""

    private: Path | None
    """Signs."""
    public: tuple[Path, ...]
    """What is read must be signed by one of them; where there is none, nothing is checked."""

    @classmethod
    def declared(cls, config: SigningConfig | None = None) -> Keys:
        """Those of the environment, else those of a configuration."""
        private = os.environ.get(PRIVATE_KEY_VARIABLE) or (config and config.private_key)
        of_environment = os.environ.get(PUBLIC_KEYS_VARIABLE, "").split(os.pathsep)
        public = [path for path in of_environment if path] or (config.public_keys if config else ())
        return cls(Path(private) if private else None, tuple(map(Path, public)))

    def require(self) -> None:
        """See that the keys can be used, before anything depends on them.

        Raises:
            ConfigError: names each file that is missing, cannot be read, may be read by others or holds no such key.
        """
        found = [_fault(path, is_private=False) for path in self.public]
        found += [] if self.private is None else [_fault(self.private, is_private=True)]
        faults = [fault for fault in found if fault is not None]
        if self.private and self.public and not faults and key_id_of(self.private) not in map(key_id, self.public):
            faults.append(f"{self.private}: its public half is none of the public keys; declare it among them")
        if faults:
            raise ConfigError(
                "registration.signing, or the variables in its place: "
                + "; ".join(faults)
                + ". docs/operations.md says how a key is made"
            )


def key_id(public_key: Path) -> str:
    """The id of a public key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _id_of(load_pem_public_key(public_key.read_bytes()))


# --- folders ---


def sign_folder(folder: Path, private_key: Path) -> None:
    """Sign every file of a folder but the signature, and leave it there."""
    with _library():
        from model_signing import hashing, signing

        hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key).set_hashing_config(hashed)
        signer.sign(folder, folder / SIGNATURE_FILE)


def folder_signature(folder: Path, keys: Keys) -> Signature:
    """What the signature of a folder is by the public keys."""
    path = folder / SIGNATURE_FILE
    if not path.exists():
        return Signature(None)
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return Signature("unknown", fault="it cannot be read")
    return _verified(bundle, folder, path, keys)


def require_signed(folder: Path, name: str, keys: Keys) -> None:
    """Refuse a model folder where public keys are declared and none of them has signed it.

    Raises:
        SignatureError: it is not signed, or not by one of them, or was changed since.
    """
    if keys.public:
        keys.require()
        folder_signature(folder, keys).require(name, keys)


# --- records ---


def sign_record(record: Mapping[str, object], keys: Keys) -> dict[str, object]:
    """A record of JSON values with its signature, where a private key is declared."""
    if keys.private is None:
        return dict(record)
    with _record_file(record) as file, _library():
        from model_signing import signing

        signature = file.with_name(SIGNATURE_FILE)
        signing.Config().use_elliptic_key_signer(private_key=keys.private).sign(file, signature)
        return {**record, SIGNATURE: json.loads(signature.read_text(encoding="utf-8"))}


def record_signature(record: Mapping[str, object], keys: Keys) -> Signature:
    """What the signature of a record is by the public keys."""
    bundle: Any = record.get(SIGNATURE)
    if bundle is None:
        return Signature(None)
    with _record_file(record) as file:
        path = file.with_name(SIGNATURE_FILE)
        path.write_text(json.dumps(bundle), encoding="utf-8")
        return _verified(bundle, file, path, keys)


@contextmanager
def _record_file(record: Mapping[str, object]) -> Iterator[Path]:
    """A file with the bytes of a record that are signed: all keys but the signature, sorted."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        values = {key: value for key, value in record.items() if key != SIGNATURE}
        file.write_text(json.dumps(values, sort_keys=True, separators=(",", ":")), encoding="utf-8")
        yield file


def _verified(bundle: Bundle, signed: Path, signature: Path, keys: Keys) -> Signature:
    """The signature of a file or folder; the key that it names is looked for among the public ones."""
    try:
        hint = str(bundle["verificationMaterial"]["publicKey"]["hint"])[:SHOWN_DIGITS]
    except (KeyError, TypeError):
        return Signature("unknown", fault="it names no key")
    if not keys.public:
        return Signature(hint)
    known = {key_id(path): path for path in keys.public}
    if hint not in known:
        return Signature(hint, fault=f"declared {'is' if len(known) == 1 else 'are'} {', '.join(known)}")
    with _library():
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying

        try:
            verifying.Config().use_elliptic_key_verifier(public_key=known[hint]).verify(signed, signature)
        except InvalidSignature:
            return Signature(hint, fault="it was not made by that key")
        except (ValueError, KeyError, TypeError, IndexError):
            return Signature(hint, fault="what was signed has changed since")
    return Signature(hint, is_checked=True)


# --- keys ---


def _fault(path: Path, *, is_private: bool) -> str | None:
    """Why a key file cannot be used; None if it can."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    kind = "private" if is_private else "public"
    try:
        content = path.read_bytes()
        key = load_pem_private_key(content, None).public_key() if is_private else load_pem_public_key(content)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); give the path of a PEM file with a {kind} key"
    except TypeError:
        return f"{path}: is encrypted; give the key without a password, readable by its owner alone"
    except (ValueError, UnsupportedAlgorithm):
        return f"{path}: holds no {kind} key in PEM"
    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if curve not in CURVES:
        return f"{path}: its key is of {curve}; allowed are {', '.join(CURVES)} (prime256v1 in openssl is the first)"
    if is_private and path.stat().st_mode & 0o027:  # a pod reads its Secret by its group
        return f"{path}: others may read or change it (mode {path.stat().st_mode & 0o777:o}); type chmod 600 {path}"
    return None


def key_id_of(private_key: Path) -> str:
    """The id of the public half of a private key."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _id_of(load_pem_private_key(private_key.read_bytes(), None).public_key())


def _id_of(public_key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = public_key.public_bytes(encoding=Encoding.PEM, format=PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()[:SHOWN_DIGITS]


@contextmanager
def _library() -> Iterator[None]:
    """Say which package is missing where a key is declared and signing is not installed."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"a key is declared, and model-signing is not installed ({error}); install reason2decide[signing]"
        ) from error
