"""Say what an export was made of: digests of code, data, record and weights, and the libraries.

They are in ``provenance.json`` beside the model files, so that a signature over the folder covers
them. The same run, libraries and data give the same file. Loads no TensorFlow.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from tfresnet import __version__
from tfresnet.config.sections import DataConfig
from tfresnet.data import lookup
from tfresnet.deploy import measured_data
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import Run
from tfresnet.system import dependencies, environment
from tfresnet.system.files import digest_of
from tfresnet.system.records import Record

FILE = "provenance.json"
PACKAGES = ("tfresnet", "tfresnet.deploy", "tfresnet.cli", "tfresnet.results")
RECORD = ("config.yaml", "spec.json", "metrics.jsonl", "environment.json")
LARGEST = 2**32  # bytes of a folder whose contents are read for its digest
BY_CONTENT, BY_SIZE = "sha256 of each file", "size of each file"


class FolderDigest(Record):
    """A folder of pictures: the SHA-256 of a line for each file, sorted by path."""

    files: int = Field(description="That are in it, but for hidden ones.")
    bytes: int = Field(description="Of all of them.")
    sha256: str = Field(description="Of the lines ``WHAT  PATH``, each ended by a line feed.")
    lines: str = Field(description="WHAT is the sha256 of each file; of more than 4 GiB its size.")


class DataDigests(Record):
    """The data of a training and of an export."""

    section: dict[str, Any] = Field(description="Of the configuration, without paths.")
    held_out: dict[str, Any] = Field(description="``n`` and ``sha256``: images and their truth.")
    calibration: dict[str, Any] = Field(description="``count``, ``seed`` and ``sha256``.")
    folder: FolderDigest | None = Field(None, description="If the data are a folder.")


class Provenance(Record):
    """What an export was made of."""

    format_version: int = 1
    tfresnet: str = Field(description="Its version.")
    commit: str | None = Field(None, description="Of its code; None of an installed package.")
    code_sha256: str = Field(description="Of the package's Python files.")
    run: dict[str, Any] = Field(description="What it is, and the digest of its weights.")
    record: dict[str, str] = Field(description="SHA-256 of the run's files, by name.")
    data: DataDigests
    dependencies: dict[str, str] = Field(description="Versions of the installed libraries.")


def of_export(
    run: Run,
    result: RunResult,
    data: DataConfig,
    weights_sha256: str | None,
    held_out: dict[str, Any],
    calibration: dict[str, Any],
) -> Provenance:
    """Return what an export was made of.

    Args:
        run: what is exported.
        result: what its training measured.
        data: the data section that the export measured with.
        weights_sha256: a digest of the run's weights.
        held_out: ``n`` and ``sha256`` of what was measured on.
        calibration: ``count``, ``seed`` and ``sha256`` of the calibration images.
    """
    folder = lookup.folder(data) if lookup.kind(data) == "folder" else None
    keys = ("preset", "arch", "seed", "epochs", "commit")
    return Provenance(
        tfresnet=__version__,
        commit=environment.commit(),
        code_sha256=code_sha256(),
        run={key: getattr(result, key) for key in keys} | {"weights_sha256": weights_sha256},
        record=_record(run, result),
        data=DataDigests(
            section=measured_data.public(data),
            held_out=held_out,
            calibration={key: calibration.get(key) for key in ("count", "seed", "sha256")},
            folder=of_folder(folder) if folder else None,
        ),
        dependencies={d.name: d.version for d in dependencies.installed()},
    )


def _record(run: Run, result: RunResult) -> dict[str, str]:
    """Return digests of what the training left; of its result without what exports add."""
    files = [run.directory / name for name in RECORD]
    found = {p.name: digest_of(p) for p in files if p.is_file()}
    values = {key: value for key, value in result.to_dict().items() if key != "artifacts"}
    text = json.dumps(values, sort_keys=True)
    return found | {"result": hashlib.sha256(text.encode()).hexdigest()}


def code_sha256() -> str:
    """Return a digest of tfresnet's Python files: the same in a clone and when it is installed."""
    found: dict[str, bytes] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        top = package.replace(".", "/")
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        for path in folder.rglob("*.py"):
            name = f"{top}/{path.relative_to(folder).as_posix()}"
            found[name] = hashlib.sha256(path.read_bytes()).digest()
    whole = hashlib.sha256()
    for name, content in sorted(found.items()):
        whole.update(f"{name}\n".encode() + content)
    return whole.hexdigest()


def of_folder(root: Path, largest: int = LARGEST) -> FolderDigest:
    """Return the digest of a folder's files: of their contents, or of their sizes if too large."""
    files = sorted(_visible(root), key=lambda path: path.relative_to(root).as_posix())
    sizes = [path.stat().st_size for path in files]
    reads = sum(sizes) <= largest
    whole = hashlib.sha256()
    for path, size in zip(files, sizes, strict=True):
        what = digest_of(path) if reads else str(size)
        whole.update(f"{what}  {path.relative_to(root).as_posix()}\n".encode(errors="replace"))
    return FolderDigest(
        files=len(files),
        bytes=sum(sizes),
        sha256=whole.hexdigest(),
        lines=BY_CONTENT if reads else BY_SIZE,
    )


def _visible(root: Path) -> Iterator[Path]:
    """Yield the plain files below a folder, but for hidden ones."""
    for top, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            path
            for name in files
            if not name.startswith(".") and (path := Path(top, name)).is_file()
        )
