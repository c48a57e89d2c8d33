"""What every command shares: --json, and one clear line for a user's mistake."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from tfresnet.cli.section_options import SectionOption, with_flags

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, nothing else there."
)
set_option = click.option(
    "--set", "overrides", cls=SectionOption, key="settings", multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change one value of the configuration; repeat for more.",
)  # fmt: skip


class ExpandedPath(click.Path):
    """A path; of ``--run-dir=~/runs`` and ``"~/my runs"`` shells leave the ``~`` to be replaced."""

    def convert(self, value: Any, *context: Any) -> Any:
        """Return the path with ``~`` and ``~user`` replaced."""
        return super().convert(os.path.expanduser(value), *context)


PATH = ExpandedPath(path_type=Path)


def data_options(function: Callable) -> Callable:
    """Add --dataset and --data-dir; the function gets those that were given as ``data``."""

    @click.option("--dataset", help="Instead of that of the run, or where its folder is now.")
    @click.option("--data-dir", help="Where TFDS keeps its data (default: $TFDS_DATA_DIR).")
    @functools.wraps(function)
    def wrapper(*args: Any, dataset: str | None, data_dir: str | None, **kwargs: Any) -> Any:
        given = {"dataset": dataset, "data_dir": data_dir}
        data = {key: value for key, value in given.items() if value is not None}
        return function(*args, data=data, **kwargs)

    return wrapper


def reports_mistakes(function: Callable) -> Callable:
    """Turn bad input into one line on stderr and exit status 2, without a traceback."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UnicodeEncodeError as error:
            if not (name := _undecodable(error.object)):
                raise
            click.echo(f"Error: expected a name in UTF-8, got {name}; rename it", err=True)
        except ValueError as error:
            if not isinstance(error, _mistakes()):
                raise
            click.echo(f"Error: {with_flags(str(error))}", err=True)
        except BrokenPipeError:
            raise  # see output.quiet_broken_pipe
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
        sys.exit(2)

    return wrapper


def _mistakes() -> tuple[type[ValueError], ...]:
    """Return the exceptions that mean bad input; the runtime, being one file, has its own."""
    from tfresnet.deploy.device.runtime import InputError

    return InputError, InputError


def model_file(path: Path) -> Path:
    """Return a model as it is, and of a run the best exported file, which is named on stderr.

    Raises:
        InputError: a folder that is neither a SavedModel nor a run with a file that passed.
    """
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return path
    from tfresnet.deploy import choice
    from tfresnet.deploy.device.runtime import printable

    file = choice.of_run(path)
    click.echo(f"Taking {printable(file)}, the best exported file of {printable(path)}", err=True)
    return file


def _undecodable(text: str) -> str | None:
    """Return, to be printed, a name of a file whose bytes are no text; None for other texts.

    Python reads such bytes as surrogates, which libraries in other languages refuse.
    """
    if not any("\ud800" <= c <= "\udfff" for c in text):
        return None
    return os.fsencode(text).decode(errors="replace")


def print_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value))


@contextlib.contextmanager
def stdout_to_stderr(active: bool) -> Iterator[None]:
    """Keep stdout for the JSON object: what libraries print goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr) if active else contextlib.nullcontext():
        yield
