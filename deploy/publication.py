"""The folder that an export writes for the Hugging Face hub; loads no TensorFlow."""

import re
from dataclasses import dataclass
from pathlib import Path

from tfresnet.runtime.errors import InputError

CARD = "README.md"


@dataclass(frozen=True)
class HubFolder:
    """A folder to publish.

    Attributes:
        directory: new, empty, or an earlier one, such as a clone of its repository.
        license: an identifier that the hub knows, such as ``apache-2.0``; None for ``unknown``.

    Raises:
        InputError: the directory holds something else, or the license is no identifier.
    """

    directory: Path
    license: str | None = None

    def __post_init__(self) -> None:
        if self.license and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise InputError(
                "--license: expected an identifier of the hub in lower case, such as apache-2.0, "
                f"got {self.license}"
            )
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"--hub-folder: expected a folder, got {self.directory}, a file")
        present = [p for p in self.directory.glob("*") if not p.name.startswith(".")]
        if present and not _is_ours(self.directory / CARD):
            raise InputError(
                "--hub-folder: expected a new or empty folder, or one that an export wrote, got "
                f"{self.directory}, which holds {present[0].name}"
            )


def _is_ours(file: Path) -> bool:
    """Return whether a model card is one of an export."""
    if not file.is_file():
        return False
    front = file.read_text(encoding="utf-8", errors="replace").partition("\n---\n")[0]
    return "\nlibrary_name: tfresnet\n" in front
