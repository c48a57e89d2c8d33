"""Options and error handling that the commands share."""

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
from tfresnet.runtime.errors import InputError

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, nothing else there."
)
set_option = click.option(
    "--set", "overrides", cls=SectionOption, key="settings", multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change one value of the configuration; repeat for more.",
)  # fmt: skip


class ExpandedPath(click.Path):
    """A path in which ``~`` is expanded: shells leave it in ``--run-dir=~/runs``."""

    def convert(self, value: Any, *context: Any) -> Any:
        """Return the path with ``~`` and ``~user`` expanded."""
        return super().convert(os.path.expanduser(value), *context)


PATH = ExpandedPath(path_type=Path)


def data_options(function: Callable) -> Callable:
    """Add --dataset and --data-dir; the function gets the given ones as a dictionary ``data``."""

    @click.option("--dataset", help="Instead of that of the run, or where its folder is now.")
    @click.option("--data-dir", help="Where TFDS keeps its data (default: $TFDS_DATA_DIR).")
    @functools.wraps(function)
    def wrapper(*args: Any, dataset: str | None, data_dir: str | None, **kwargs: Any) -> Any:
        given = {"dataset": dataset, "data_dir": data_dir}
        data = {key: value for key, value in given.items() if value is not None}
        return function(*args, data=data, **kwargs)

    return wrapper


def reports_mistakes(function: Callable) -> Callable:
    """Report bad input in one line on stderr, with exit status 2 and without a traceback."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UnicodeEncodeError as error:
            if not (name := _undecodable(error.object)):
                raise
            click.echo(f"Error: expected a name in UTF-8, got {name}; rename it", err=True)
        except ValueError as error:
            if not isinstance(error, InputError):
                raise
            click.echo(f"Error: {with_flags(str(error))}", err=True)
        except BrokenPipeError:
            raise  # see terminal.quiet_broken_pipe
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
        sys.exit(2)

    return wrapper


def model_file(path: Path) -> Path:
    """Return the file itself, or that of a run or a shipped network, which is named on stderr.

    Of a run it is the best exported file, of the name of a shipped network its float32 file, which
    is made at the first call.

    Raises:
        InputError: a folder that is neither a SavedModel nor a run with a file that passed its
            checks.
    """
    if file := trained_file(path):
        click.echo(f"Taking the float32 file of the shipped {path}", err=True)
        return file
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return path
    from tfresnet.deploy import choice
    from tfresnet.runtime.terminal import printable

    file = choice.of_run(path)
    click.echo(f"Taking {printable(file)}, the best exported file of {printable(path)}", err=True)
    return file


def trained_file(path: Path) -> Path | None:
    """Return the float32 TFLite file of a shipped network for its name; None for another path."""
    from tfresnet.runs import shipped

    if not shipped.is_name(path):
        return None
    from tfresnet.deploy import trained_file as made

    return made.of_name(str(path))


def writable_run(path: Path) -> Path:
    """Return a run to write into: of a shipped network a copy in ``runs/``, named on stderr."""
    from tfresnet.runs import shipped

    run = shipped.writable(path)
    if run != path:
        click.echo(f"The shipped {path} is in {run}", err=True)
    return run


def _undecodable(text: str) -> str | None:
    """Return a file name with bytes that are not UTF-8 in a form to print; None for other text.

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
    """Redirect stdout to stderr, so that libraries print nothing beside the JSON object."""
    with contextlib.redirect_stdout(sys.stderr) if active else contextlib.nullcontext():
        yield
