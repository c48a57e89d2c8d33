"""Check that an export, a bundle or a model file is as it was written; loads no TensorFlow."""

from pathlib import Path
from typing import Any

from pydantic import Field

from tfresnet.config.formats import of_path as format_of
from tfresnet.deploy import provenance
from tfresnet.deploy.signing import Trust
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.signature import SIGNATURE, SignatureError
from tfresnet.system.files import read_json
from tfresnet.system.records import Record

SHOWN = 6  # keys of what a folder says about itself


class Verification(Record):
    """What a check came to."""

    path: str = Field(description="The folder or the file.")
    verified: bool = Field(description="Nothing that was looked at was changed.")
    problem: str | None = Field(None, description="What was changed, in one line.")
    signed: bool = Field(False, description="There is a signature; only a key tells whose.")
    trusted: str | None = Field(None, description="Who signed: key, certificate or identity.")
    files: int = Field(0, description="Files that the signature covers.")
    models: list[str] = Field([], description="Model files whose checksum is that inside them.")
    says: dict[str, Any] = Field({}, description="What the folder or the file says about itself.")

    def text(self) -> str:
        """Return the result of a check that went well, for people."""
        if self.trusted:
            return f"signed by that {self.trusted}, and unchanged: {self.files} files"
        asked = "give --key to check its signature" if self.signed else "it is not signed"
        return f"{len(self.models)} model files have their checksums; {asked}"


def of_path(path: Path, trust: Trust) -> Verification:
    """Check a run's export, a folder or a model file.

    Args:
        path: a run that was exported, a folder with ``model.sig``, or a model file.
        trust: whose signature is expected; with nothing in it, checksums alone are looked at.

    Raises:
        InputError: there is nothing to check, or a key can't be read.
    """
    if not path.exists():
        raise InputError(f"expected a run, a folder or a model file, {path} does not exist")
    folder, file = (path, None) if path.is_dir() else (path.parent, path)
    if file is None and not (folder / SIGNATURE).exists() and (folder / "export").is_dir():
        folder = folder / "export"
    facts: dict[str, Any] = {
        "path": str(path),
        "problem": None,
        "signed": (folder / SIGNATURE).is_file(),
        "trusted": None,
        "files": 0,
        "models": [],
        "says": {},
    }
    try:
        if trust.kind:
            names = trust.verify(folder)
            if file and file.name not in names:
                raise SignatureError(f"{path}: expected a file that was signed, got another one")
            facts |= {"trusted": trust.kind, "files": len(names)}
        facts["models"] = _whole_models(folder, file)
    except SignatureError as error:
        return Verification(**facts | {"verified": False, "problem": str(error)})
    if not trust.kind and not facts["models"]:
        raise InputError(f"expected model files or a signed folder and --key, got {path}")
    return Verification(**facts | {"verified": True, "says": _says(folder, file)})


def _whole_models(folder: Path, file: Path | None) -> list[str]:
    """Return the names of the models whose content has the checksum that they hold.

    Raises:
        SignatureError: one has not.
    """
    paths = [file] if file else [p for p in sorted(folder.iterdir()) if format_of(p)]
    for path in paths:
        try:
            read_metadata(path)
        except InputError as error:
            raise SignatureError(str(error)) from None
    return [path.name for path in paths]


def _says(folder: Path, file: Path | None) -> dict[str, Any]:
    """Return what the model file, or else the folder's provenance, says in a few words."""
    if file:
        known = read_metadata(file)
        facts = {key: getattr(known, key) for key in ("arch", "preset", "seed", "commit")}
        facts["weights_sha256"] = known.weights_sha256
    elif (folder / provenance.FILE).is_file():
        found = read_json(folder / provenance.FILE)
        run = found.get("run")
        facts = {**run} if isinstance(run, dict) else {}
        facts["tfresnet"] = found.get("tfresnet")
    else:
        return {}
    return {key: value for key, value in [*facts.items()][:SHOWN] if value is not None}
