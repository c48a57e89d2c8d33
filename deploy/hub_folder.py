"""Write a folder for the Hugging Face hub: model card, files, weights, labels, how to run them.

Nothing is uploaded: ``hf upload OWNER/NAME FOLDER`` does that.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tfresnet.config.formats import of_path
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.publication import CARD, HubFolder
from tfresnet.deploy.records import Report
from tfresnet.deploy.report import card
from tfresnet.runs import packing
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.run_directory import Run
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import write_text

LABELS, REQUIREMENTS = "labels.txt", "requirements.txt"
# Of the bundle: what runs a file that stands beside it.
PROGRAM = ("classify.py", "tfresnet_runtime")


def write(folder: HubFolder, context: ExportContext, report: Report) -> list[Path]:
    """Write the folder of an export's sound files; return its files, in order.

    Raises:
        InputError: no file passed its checks.
    """
    sound = [artifact for artifact in report.artifacts if not artifact.failures]
    if not sound:
        raise InputError("--hub-folder: expected a file that passed its checks, got none")
    directory = folder.directory
    _clear(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for artifact in sound:
        _copy_model(Path(artifact.path), directory)
    _pack(context.run, directory)
    program = _copy_program(report, directory)
    write_text(directory / REQUIREMENTS, _requirements(sound))
    write_text(directory / LABELS, "\n".join(context.run.output.labels) + "\n")
    text = card.hub_text(context, report, directory.resolve().name, folder.license, program)
    write_text(directory / CARD, text)
    card.check(text)
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _clear(directory: Path) -> None:
    """Remove what an earlier export has written, but nothing else: no ``.git``, say."""
    for path in directory.glob("model_*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _pack(run: Run, directory: Path) -> None:
    """Write the run with its weights; not its samples, which are pictures of somebody."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "run"
        packing.pack(run, packed)
        ignored = shutil.ignore_patterns("samples", ".lock")
        shutil.copytree(packed, directory, dirs_exist_ok=True, ignore=ignored)


def _copy_model(path: Path, directory: Path) -> None:
    row = of_path(path)
    if path.is_dir() or row is None:
        shutil.copytree(path, directory / path.name, dirs_exist_ok=True)
        return
    for file in row.files(path):
        shutil.copy(file, directory / file.name)


def _copy_program(report: Report, directory: Path) -> bool:
    """Copy what runs a file without tfresnet; return whether there is such a thing."""
    if not report.bundle:
        return False
    for name in PROGRAM:
        source, target = Path(report.bundle) / name, directory / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=_compiled)
        else:
            shutil.copy(source, target)
    return True


def _compiled(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def _requirements(artifacts: Sequence[ArtifactRecord]) -> str:
    """Return the packages that the files need, each once."""
    rows = [row for artifact in artifacts if (row := of_path(Path(artifact.path)))]
    lines = [line for row in rows for line in row.requirements.splitlines()]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))
