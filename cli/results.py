"""``tfresnet results``: no TensorFlow in this one."""

from pathlib import Path

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes


@click.command("results")
@click.argument("folder", default="results", type=click.Path(path_type=Path))
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 if the page is out of date."
)
@json_option
@reports_mistakes
def command(folder: Path, check: bool, as_json: bool) -> None:
    """Write FOLDER/RESULTS.md: one table of all that `tfresnet record` wrote there.

    \b
    Example:
      tfresnet results --check
    """
    from tfresnet import records
    from tfresnet.files import read_text, write_text

    page, path = records.page(folder), folder / "RESULTS.md"
    if not check:
        write_text(path, page)
    current = path.exists() and read_text(path) == page
    if as_json:
        print_json({"page": str(path), "current": current})
    elif current:
        click.echo(path)
    else:
        click.echo(f"{path} is not what the records say: run tfresnet results {folder}", err=True)
    raise SystemExit(0 if current else 1)
