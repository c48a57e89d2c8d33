"""``python -m tools.results``: write results/RESULTS.md, the page of all records."""

from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes


@click.command("results")
@click.argument("folder", default="results", type=PATH)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 if the page is out of date."
)
@click.option(
    "--into",
    type=PATH,
    metavar="FILE.md",
    help="Put the table into this file too, between <!-- results --> and <!-- end of results -->.",
)
@json_option
@reports_mistakes
def command(folder: Path, check: bool, into: Path | None, as_json: bool) -> None:
    """Write FOLDER/RESULTS.md: one table of all that `python -m tools.record` wrote there.

    \b
    Examples:
      python -m tools.results --check
      python -m tools.results --into README.md
    """
    from tfresnet.system.files import read_text, write_text
    from tools import results_page

    pages = {folder / "RESULTS.md": results_page.page(folder)}
    if into:
        pages[into] = results_page.put_into(
            read_text(into), results_page.summary(folder), str(into)
        )
    if not check:
        for path, page in pages.items():
            write_text(path, page)
    stale = [path for path, page in pages.items() if not path.exists() or read_text(path) != page]
    if as_json:
        print_json({"page": str(folder / "RESULTS.md"), "current": not stale})
    for path in stale:
        option = f" --into {path}" if path == into else ""
        line = f"python -m tools.results {folder}{option}"
        click.echo(f"{path} differs from the records: run {line}", err=True)
    if not stale and not as_json:
        click.echo("\n".join(map(str, pages)))
    raise SystemExit(1 if stale else 0)


if __name__ == "__main__":
    command(prog_name="python -m tools.results")
