"""Sign a folder of model files and check signatures, by OpenSSF Model Signing.

The signature is ``model.sig`` in the folder: a Sigstore bundle over the SHA-256 of every file. The
library is an extra, ``pip install 'tfresnet[sign]'``, and is imported where it is needed.
"""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.runtime import signature
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.signature import SIGNATURE, SignatureError

SIGSTORE = "sigstore"  # in place of a key
PASSWORD = "TFRESNET_KEY_PASSWORD"  # of an encrypted key, in the environment
# Locks come and go; the others are what git and a download from the hub leave in a folder.
IGNORED = (SIGNATURE, ".lock")
IGNORED_OF_HUB = (*IGNORED, ".git", ".gitattributes", ".cache")
# What model-signing and the libraries below it raise for keys that can't be read.
BAD_KEY = (OSError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True)
class Signer:
    """Who signs: the owner of a key, with a certificate or without, or an identity of Sigstore's.

    Attributes:
        key: PEM file with a private key on P-256, P-384 or P-521, or ``sigstore``.
        certificates: PEM files: the key's own, then those of its issuers; none for a bare key.

    Raises:
        InputError: the key or a certificate can't be read, or the package is not installed.
    """

    key: str
    certificates: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        _library()
        if self.key == SIGSTORE and self.certificates:
            raise InputError("--certificate: expected none beside --sign sigstore")
        if self.key != SIGSTORE:
            self._configuration()

    def sign(self, folder: Path, ignored: tuple[str, ...] = IGNORED) -> Path:
        """Write ``model.sig`` over all other files of a folder and return its path.

        With ``sigstore`` the identity is the one of the CI job, or is asked for in the browser.

        Args:
            folder: what is signed, with everything in the folders in it.
            ignored: paths, relative to it, that are not signed.
        """
        library = _library()
        path = folder / SIGNATURE
        path.unlink(missing_ok=True)
        hashing = library.hashing.Config().use_file_serialization(hashing_algorithm="sha256")
        hashing.set_ignored_paths(paths=ignored, ignore_git_paths=False)
        try:
            with _quiet():
                self._configuration().set_hashing_config(hashing).sign(folder, path)
        except InputError:
            raise
        except Exception as error:  # of Sigstore's services too: no network, no identity
            path.unlink(missing_ok=True)
            raise InputError(f"--sign: expected to sign {folder}: {_reason(error)}") from None
        return path

    def _configuration(self) -> Any:
        """Return the library's configuration to sign with; it reads the key."""
        config = _library().signing.Config()
        if self.key == SIGSTORE:
            return config.use_sigstore_signer(use_ambient_credentials="CI" in os.environ)
        try:
            if not self.certificates:
                password = os.environ.get(PASSWORD)
                return config.use_elliptic_key_signer(
                    private_key=self.key, password=password.encode() if password else None
                )
            return config.use_certificate_signer(
                private_key=self.key,
                signing_certificate=self.certificates[0],
                certificate_chain=self.certificates[1:],
            )
        except BAD_KEY as error:
            raise InputError(
                "--sign: expected a private key on P-256, P-384 or P-521 in a PEM file, got "
                f"{self.key}: {_reason(error)}"
            ) from None


@dataclass(frozen=True)
class Trust:
    """Whose signature is expected: that of a key, of a certificate, or of an identity.

    Attributes:
        key: PEM file with the public key.
        certificates: PEM files of those who are trusted to issue certificates.
        identity: of Sigstore: a person's address or a CI job's workflow.
        issuer: of Sigstore: the URL of the service that confirms the identity.

    Raises:
        InputError: not exactly one of the three is given, or one without the other.
    """

    key: Path | None = None
    certificates: tuple[Path, ...] = ()
    identity: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        if bool(self.identity) != bool(self.issuer):
            raise InputError("--identity: expected --issuer with it, and the reverse")
        if sum(map(bool, (self.key, self.certificates, self.identity))) > 1:
            raise InputError("expected one of --key, --certificate and --identity, got several")

    @property
    def kind(self) -> str | None:
        """What is trusted: ``key``, ``certificate``, ``identity``, or None for nothing."""
        if self.key:
            return "key"
        return "certificate" if self.certificates else "identity" if self.identity else None

    def verify(self, folder: Path) -> list[str]:
        """Check a folder against its ``model.sig``; return the paths of the files, relative to it.

        Raises:
            SignatureError: a file was changed, added, removed, renamed or is a link, or the
                signature is damaged, missing, or another's.
            InputError: the key or a certificate can't be read, or the package is not installed.
        """
        content = signature.read_signature(folder)
        config = self._configuration()
        try:
            with _quiet():
                config.verify(folder, folder / SIGNATURE)
            signed, _ = signature.signed_files(signature.statement(content)["predicate"])
        except Exception as error:  # whatever a damaged signature leads to, it is refused
            raise SignatureError(self._problem(folder, content, error)) from None
        return sorted(signed)

    def _configuration(self) -> Any:
        config = _library().verifying.Config()
        try:
            if self.identity:
                return config.use_sigstore_verifier(identity=self.identity, oidc_issuer=self.issuer)
            if self.certificates:
                return config.use_certificate_verifier(certificate_chain=self.certificates)
            return config.use_elliptic_key_verifier(public_key=self.key)
        except BAD_KEY as error:
            got = self.key or ", ".join(map(str, self.certificates))
            raise InputError(
                f"--{self.kind}: expected PEM files of elliptic curves' keys, got {got}: "
                f"{_reason(error)}"
            ) from None

    def _problem(self, folder: Path, content: bytes, error: Exception) -> str:
        """Return why a folder is refused: for its files, or for its signature."""
        found = ""
        if "symlink" in str(error) or str(error).startswith("Signature mismatch"):
            with contextlib.suppress(Exception):
                signed, ignored = signature.signed_files(signature.statement(content)["predicate"])
                found = signature.differences(folder, signed, {*ignored, SIGNATURE})
        if found:
            return f"{folder}: expected the files that were signed, got {found}"
        whose = self.key or self.identity or ", ".join(map(str, self.certificates))
        return (
            f"{folder / SIGNATURE}: expected a signature of {whose}, got another one, or a damaged "
            f"one: {_reason(error)}"
        )


def _library() -> Any:
    """Import model-signing."""
    try:
        with _quiet():
            import model_signing
    except ImportError as error:
        raise InputError(
            f"signatures: expected model-signing: pip install 'tfresnet[sign]' ({error})"
        ) from None
    return model_signing


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's remarks off the terminal: what matters is raised."""
    logger = logging.getLogger("model_signing")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def _reason(error: Exception) -> str:
    """Return an error's text, or its name if it has none, in one short line."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"
