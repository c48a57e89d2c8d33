"""What every command shares: --json, and one clear line for a user's mistake."""

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from tfresnet.errors import UserError

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, nothing else there."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
    help="Change one value of the configuration; repeat for more.",
)  # fmt: skip


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
        except ValueError as error:
            if not isinstance(error, _mistakes()):
                raise
            click.echo(f"Error: {error}", err=True)
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
        sys.exit(2)

    return wrapper


def _mistakes() -> tuple[type[ValueError], ...]:
    """Return the exceptions that mean bad input; the runtime, being one file, has its own."""
    from tfresnet.deploy.device.runtime import InputError

    return UserError, InputError


def print_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value))


@contextlib.contextmanager
def stdout_to_stderr(active: bool) -> Iterator[None]:
    """Keep stdout for the JSON object: what libraries print goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr) if active else contextlib.nullcontext():
        yield
