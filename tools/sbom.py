"""``python -m tools.sbom``: list the libraries that tfresnet needs here, with their licenses."""

from collections import Counter
from pathlib import Path

import click

from tfresnet import __version__
from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes
from tfresnet.deploy import bill_of_materials
from tfresnet.system import dependencies
from tfresnet.system.dependencies import Dependency
from tfresnet.system.files import write_text


@click.command("sbom")
@click.argument("file", type=PATH)
@json_option
@reports_mistakes
def command(file: Path, as_json: bool) -> None:
    """Write FILE, a CycloneDX bill of materials of this install, and list the licenses.

    \b
    Example:
      python -m tools.sbom tfresnet.cdx.json
    """
    libraries = dependencies.installed()
    root = bill_of_materials.library_of(Dependency("tfresnet", __version__, "Apache-2.0", ()))
    bom = bill_of_materials.bill_of(root)
    for library in libraries:
        bom.components.add(bill_of_materials.library_of(library))
    bill_of_materials.connect(bom, root, libraries)
    write_text(file, bill_of_materials.finished(bom))
    licenses = Counter(library.license for library in libraries)
    if as_json:
        print_json({"file": str(file), "licenses": licenses})
        return
    for name, count in sorted(licenses.items(), key=lambda pair: (-pair[1], pair[0])):
        click.echo(f"{count:4} {name}")


if __name__ == "__main__":
    command()
