"""Check the signature over a folder, ``model.sig``, with a public key.

The file is of OpenSSF Model Signing (https://github.com/sigstore/model-transparency): a Sigstore
bundle whose DSSE envelope holds an in-toto statement with the SHA-256 of every file of the folder.
``tfresnet verify`` has that library check it; here, on a device, ``cryptography`` alone is enough.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import InputError
from .paths import as_path

SIGNATURE = "model.sig"  # in the folder that is signed
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}  # of each curve
BYTECODE = "__pycache__"  # classify.py with --key reads none from it
SHOWN = 5  # files that a message names
CHUNK = 2**20  # bytes that are read at a time


class SignatureError(InputError):
    """What was signed was changed, was signed by another key, or was not signed at all."""


def verify_model(path: str | os.PathLike, key: str | os.PathLike) -> None:
    """Check the folder in which a model file lies, see :func:`verify_folder`.

    Raises:
        SignatureError: the folder is not as it was signed, or the file is none that was signed.
        InputError: the key can't be read, or ``cryptography`` is not installed.
    """
    path = as_path(path)
    names = verify_folder(path.parent, key)
    if path.name not in names:
        raise SignatureError(f"{path}: expected a file that was signed, got another one")


def verify_folder(folder: str | os.PathLike, key: str | os.PathLike) -> list[str]:
    """Check that a folder holds the files that the owner of a key has signed, and no others.

    What lies in folders called ``__pycache__`` is not looked at.

    Args:
        folder: with ``model.sig`` in it.
        key: PEM file with the public key: P-256, P-384 or P-521.

    Returns:
        The paths of the files, relative to the folder.

    Raises:
        SignatureError: a file was changed, added, removed or renamed, is a link, or the signature
            is damaged or that of another key.
        InputError: the key can't be read, or ``cryptography`` is not installed.
    """
    folder = as_path(folder)
    public = _public_key(as_path(key))
    content = read_signature(folder)
    try:
        predicate = _predicate(content, public)
        signed, ignored = signed_files(predicate)
    except Exception:  # whatever a damaged signature leads to, it is refused
        raise SignatureError(
            f"{folder / SIGNATURE}: expected a signature made with {key}'s private key, got "
            "another one, or a damaged one"
        ) from None
    if found := differences(folder, signed, {*ignored, SIGNATURE, BYTECODE}):
        raise SignatureError(f"{folder}: expected the files that were signed, got {found}")
    return sorted(signed)


def read_signature(folder: Path) -> bytes:
    """Return the content of a folder's ``model.sig``; a ``SignatureError`` if there is none."""
    try:
        return (folder / SIGNATURE).read_bytes()
    except OSError:
        raise SignatureError(
            f"{folder}: expected a signature in it, {SIGNATURE}, found none; export with --sign KEY"
        ) from None


def signed_files(predicate: dict[str, Any]) -> tuple[dict[str, str], set[str]]:
    """Return the SHA-256 of every file by its path, and the paths that are not looked at.

    Raises:
        ValueError, LookupError, TypeError: the predicate is none of a folder's files.
    """
    how, signed = predicate["serialization"], {}
    if (how["method"], how["hash_type"]) != ("files", "sha256"):
        raise ValueError("expected the SHA-256 of files")
    for resource in predicate["resources"]:
        if resource["algorithm"] != "sha256":
            raise ValueError("expected SHA-256")
        signed[str(resource["name"])] = str(resource["digest"])
    return signed, {str(path) for path in how.get("ignore_paths", ())}


def statement(content: bytes) -> dict[str, Any]:
    """Return the statement in a signature, which is not checked here."""
    return json.loads(base64.b64decode(json.loads(content)["dsseEnvelope"]["payload"]))


def differences(folder: Path, signed: dict[str, str], ignored: set[str]) -> str:
    """Return how a folder's files differ from what was signed; "" if they do not.

    Args:
        folder: what is looked at.
        signed: SHA-256 of every file by its path.
        ignored: paths, and names of folders, that are not looked at.
    """
    there = _files(folder, ignored)
    changed = [name for name in signed if name in there and _sha256(there[name]) != signed[name]]
    parts = {
        "changed": changed,
        "added": [name for name in there if name not in signed],
        "without": [name for name in signed if name not in there],
    }
    return "; ".join(f"{what} {_some(names)}" for what, names in parts.items() if names)


def _files(folder: Path, ignored: set[str]) -> dict[str, Path]:
    """Return all that lies in a folder, links too, but no plain folders, by its relative path."""
    found: dict[str, Path] = {}
    for top, folders, files in os.walk(folder):
        here = Path(top)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in ignored)
        for name in sorted([*files, *links]):
            relative = (here / name).relative_to(folder).as_posix()
            if relative not in ignored:
                found[relative] = here / name
    return found


def _sha256(path: Path) -> str:
    """Return the digest of a plain file; "" for a link or anything else."""
    if path.is_symlink() or not path.is_file():
        return ""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            found.update(part)
    return found.hexdigest()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more


def _predicate(content: bytes, public: Any) -> dict[str, Any]:
    """Check the signature of an envelope; return what the statement in it says of the files."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    envelope = json.loads(content)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = envelope["signatures"]
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
    digest = getattr(hashes, HASHES[public.curve.name])()
    public.verify(base64.b64decode(signature["sig"], validate=True), signed, ec.ECDSA(digest))
    stated = json.loads(payload)
    kinds = (envelope["payloadType"], stated["_type"], stated["predicateType"])
    if kinds != (PAYLOAD, STATEMENT, PREDICATE):
        raise ValueError("expected a statement about a model's files")
    return stated["predicate"]


def _public_key(path: Path) -> Any:
    """Read a public key on one of the curves that Model Signing has."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise InputError("--key: expected the package cryptography: pip install it") from None
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no public key in PEM"
        raise InputError(
            f"--key: expected a public key in a PEM file, got {path}: {reason}"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise InputError(f"--key: expected a key on P-256, P-384 or P-521, got another: {path}")
    return key
