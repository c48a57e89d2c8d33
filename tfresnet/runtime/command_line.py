"""The command line of the bundle: ``python classify.py model.tflite cat.jpg folder --times``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .drawing import Drawings
from .errors import InputError
from .paths import MODEL_FILE
from .picture_files import pictures_in
from .predictor import open_file
from .signature import verify_model
from .terminal import escape_unprintable, printable, quiet_broken_pipe


def main() -> int:
    """Predict the pictures named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Say what is in pictures.")
    parser.add_argument("model", help=f"{MODEL_FILE}, exported by tfresnet")
    parser.add_argument("images", nargs="+", metavar="image", help="or a folder of them")
    parser.add_argument(
        "--top", type=_positive, help="labels a picture (default: 5; multi-label: all)"
    )
    parser.add_argument(
        "--threshold", type=_probability,
        help="of a label that counts, of a multi-label model (default: 0.5), or of a box (0.3)",
    )  # fmt: skip
    parser.add_argument("--threads", type=_positive, default=1)
    parser.add_argument("--out", help="folder for the pictures with what was found in them")
    parser.add_argument(
        "--key", help="public key: refuse a model that was changed since it was signed with it"
    )
    parser.add_argument("--times", action="store_true", help="print what each picture took")
    arguments = parser.parse_args()
    escape_unprintable()
    with quiet_broken_pipe():
        return _predict(arguments)


def _positive(text: str) -> int:
    """Return a positive whole number; argparse reports a ValueError."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)


def _probability(text: str) -> float:
    """Return a number from 0 to 1; argparse reports a ValueError."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability, 0 to 1, got {text!r}")
    return value


def _predict(arguments: argparse.Namespace) -> int:
    """Print the predictions; 1 if some pictures could not be read, 2 if none could."""
    bad: list[Any] = []

    def skip(picture: Any, error: InputError) -> None:
        bad.append(picture)
        print(f"Error: {error}", file=sys.stderr, flush=True)

    printed = 0
    try:
        if arguments.key:
            verify_model(arguments.model, arguments.key)
        model = open_file(arguments.model, arguments.threads)
        if arguments.out and not model.draws:
            raise InputError(f"--out: expected a model that finds places, got {arguments.model}")
        drawings = Drawings(Path(arguments.out), model.output) if arguments.out else None
        pictures = pictures_in(arguments.images, skip)
        for one in model.predictions(pictures, skip, arguments.top, arguments.threshold):
            printed += 1
            times = f"  ({one.prepare_ms:.2f} ms + {one.run_ms:.3f} ms)" if arguments.times else ""
            print(f"{printable(one.picture)}: {one.text()}{times}")
            if drawings:
                drawings.write(one)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return (1 if printed else 2) if bad else 0
