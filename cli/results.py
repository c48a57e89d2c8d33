"""``tfresnet results``: no TensorFlow in this one."""

from pathlib import Path

import click

from tfresnet.cli.common import reports_mistakes


@click.command("results")
@click.argument("folder", default="results", type=click.Path(path_type=Path))
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 if the page is not as it should be."
)
@reports_mistakes
def command(folder: Path, check: bool) -> None:
    """Write FOLDER/RESULTS.md: one table of all that `tfresnet record` wrote there.

    \b
    Example:
      tfresnet results --check
    """
    from tfresnet import records
    from tfresnet.errors import UserError
    from tfresnet.files import write_text

    if not any(folder.glob("**/*.json")):
        raise UserError(f"expected records in {folder}, found none; see tfresnet record")
    page, path = records.page(folder), folder / "RESULTS.md"
    if not check:
        write_text(path, page)
        click.echo(path)
    elif not path.exists() or path.read_text(encoding="utf-8") != page:
        click.echo(f"{path} is not what the records say: run tfresnet results {folder}", err=True)
        raise SystemExit(1)
