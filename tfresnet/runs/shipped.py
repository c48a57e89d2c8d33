"""Find the trained networks that ship with tfresnet, by their names. No TensorFlow.

Each is a packed run in the folder ``trained/`` of the package. Wherever a run is expected, its name
is accepted too, unless there is a file or folder of that name.
"""

import shutil
from functools import cache
from pathlib import Path

from tfresnet.runtime.errors import InputError
from tfresnet.system.files import expanded

FOLDER = Path(__file__).parent.parent / "trained"
WEIGHTS = "weights.safetensors"  # of a packed run
DEFAULT = "cifar10-resnet20"  # what ``tfresnet demo`` shows without a model


@cache
def names() -> tuple[str, ...]:
    """Return the names of all shipped networks, sorted."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob(f"*/{WEIGHTS}")))


def is_name(path: str | Path) -> bool:
    """Return whether a path is the name of a shipped network, and no file or folder."""
    return str(path) in names() and not Path(path).exists()


def located(path: str | Path) -> Path:
    """Return the folder of a shipped network for its name; any other path with ``~`` expanded."""
    return FOLDER / path if is_name(path) else expanded(path)


def writable(path: Path) -> Path:
    """Return a run that may be written to: for a name, a copy of the network in ``runs/NAME``.

    The copy is made once; later calls return it with all that was exported since.

    Raises:
        InputError: ``runs/NAME`` is a run of other weights.
    """
    if not is_name(path):
        return path
    source, copy = FOLDER / path, Path("runs") / path
    if copy.exists() and any(copy.iterdir()):
        theirs = copy / WEIGHTS
        if not theirs.is_file() or theirs.read_bytes() != (source / WEIGHTS).read_bytes():
            raise InputError(
                f"expected {copy} to be free for a copy of the shipped {path}, it holds another "
                f"run; name the one you mean ({copy}), or move it away"
            )
    else:
        shutil.copytree(source, copy, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return copy
