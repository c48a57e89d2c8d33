"""Choose the exported file for a device; loads no TensorFlow."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from tfresnet.config.formats import FORMATS, QUANTIZATIONS
from tfresnet.deploy.records import Report
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.paths import MODEL_FILE
from tfresnet.system.files import read_json


def portable(artifacts: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
    """Return the files that run without TensorFlow."""
    return [a for a in artifacts if FORMATS[a.format].portable]


def best(artifacts: Sequence[ArtifactRecord]) -> ArtifactRecord | None:
    """Return the best file that passed its gate: int8 first, then TFLite, then the smallest."""
    passed = [a for a in portable(artifacts) if not a.failures]
    return min(passed, key=_preference, default=None)


def _preference(record: ArtifactRecord) -> tuple:
    """Return a key that is smallest for the file that a device gets."""
    quantization, row = QUANTIZATIONS[record.quantization], FORMATS[record.format]
    return not quantization.preferred, not row.preferred, record.bytes


def of_run(directory: Path) -> Path:
    """Return the best file of a run's last export.

    Raises:
        InputError: the folder is no run, or it has no file that passed its gate.
    """
    if not (directory / "config.yaml").is_file():
        raise InputError(
            f"expected {MODEL_FILE}, or a run, {directory} is a folder that is neither"
        )
    folder = directory / "export"
    export = f"export it: tfresnet export {shlex.quote(str(directory))}"
    if not (folder / "report.json").is_file():
        raise InputError(f"expected a run with exported files, {directory} has none; {export}")
    report = _report(folder / "report.json")
    artifacts = report.artifacts
    if report.ladder is not None:  # of --auto, which says what is within the budget
        artifacts = [a for a in artifacts if a.path == report.chosen]
    record = best(artifacts)
    if record is None:
        raise InputError(
            f"expected a file of {directory} that passed, all failed (see {folder}/report.html); "
            "name one, or export again"
        )
    file = folder / record.path.rpartition("/export/")[2]
    if not file.is_file():
        raise InputError(f"expected {file}, as in {folder}/report.json, found none; {export}")
    return file


def _report(path: Path) -> Report:
    try:
        return Report.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: expected the report of an export: {error}") from None
