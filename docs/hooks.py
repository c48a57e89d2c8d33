"""What MkDocs does beside rendering: the sources under their import names, tables of the schema.

``tfresnet.deploy`` and ``tfresnet.cli`` stand at the top of the repository (see setup.cfg). So that
they are found without an installation, a temporary folder gets a copy of all under ``tfresnet/``.
"""

import inspect
import re
import shutil
import sys
import tempfile
import textwrap
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MAPPED = ("deploy", "cli", "results")  # folders at the top that are imported under tfresnet
SOURCES = tempfile.TemporaryDirectory(prefix="tfresnet-docs-")  # removed when MkDocs ends
SIGNS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}
MARK = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
EXAMPLE = re.compile(r"\x08\n(.+:)\n((?:  .*(?:\n|$))+)")
RUN = re.compile(r"^( *```\w+.*?) run$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Let mkdocstrings and mkdocs-click find the sources, before they look for them."""
    whole = Path(SOURCES.name) / "tfresnet"
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tfresnet", whole, ignore=unwanted, dirs_exist_ok=True)
    for name in MAPPED:
        shutil.copytree(ROOT / name, whole / name, ignore=unwanted, dirs_exist_ok=True)
    if SOURCES.name not in sys.path:
        sys.path[:0] = [SOURCES.name, str(ROOT)]  # the second for tools/
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [SOURCES.name]
    _fence_examples()
    return config


on_config.mkdocs_priority = 100  # type: ignore[attr-defined]  # before the plugins


def _fence_examples() -> None:
    """Make code blocks of the examples in the commands' help; mkdocs-click would fill them."""
    import click

    from tfresnet.cli.main import COMMANDS, main

    context = click.Context(main)
    for command in (main, *(main.get_command(context, name) for name in COMMANDS)):
        command.help = EXAMPLE.sub(_fenced, inspect.cleandoc(command.help))


def _fenced(match: re.Match) -> str:
    lines = textwrap.dedent(match[2])
    if lines.startswith("tfresnet"):
        lines, language = re.sub("^", "$ ", lines.strip(), flags=re.MULTILINE), "console"
    else:
        language = "yaml"
    return f"{match[1]}\n\n```{language}\n{lines.rstrip()}\n```\n"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put tables where they are asked for; take off what tests/test_docs.py knows blocks by."""
    return MARK.sub(lambda mark: table(mark[1]), RUN.sub(r"\1", markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Empty the cells of options without a default or a help; mkdocs-click has words for that."""
    return html.replace("<code>Sentinel.UNSET</code>", "").replace("<td>N/A</td>", "<td></td>")


def table(name: str) -> str:
    """Return a table in Markdown: presets, results, ablation, or the keys of a schema section."""
    if name == "presets":
        return _presets()
    from tfresnet.config import sections
    from tfresnet.sweep.plan import Sweep
    from tools import records, results_page

    if name == "results":
        return results_page.summary(ROOT / "results")
    if name == "ablation":
        sweeps = records.read_all(ROOT / "results").sweeps
        return sweeps["ablation-resnet8.json"].content["markdown"]
    kinds = {
        "run": sections.RunConfig,
        "model": sections.ModelConfig,
        "data": sections.DataConfig,
        "train": sections.TrainConfig,
        "sweep": Sweep,
    }
    rows = ["| key | type | default | range | meaning |", "| --- | --- | --- | --- | --- |"]
    for key, field in kinds[name].model_fields.items():
        if key in ("model", "data", "train"):
            continue
        default = field.get_default(call_default_factory=True)
        cells = (
            f"`{key}`", _type(field.annotation), f"`{_yaml(default)}`", _range(field.metadata),
            field.description or "",
        )  # fmt: skip
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _presets() -> str:
    from tfresnet.config import loading

    rows = ["| preset | is |", "| --- | --- |"]
    rows += [f"| `{name}` | {loading.load(name).description} |" for name in loading.presets()]
    return "\n".join(rows)


def _type(annotation: Any) -> str:
    """Return a type in words; of a choice, the values that may be chosen."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{_yaml(value)}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_type(part) for part in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if annotation is types.NoneType:
        return "`null`"
    if typing.get_origin(annotation):
        return typing.get_origin(annotation).__name__
    return annotation.__name__


def _yaml(value: Any) -> str:
    """Return a value as one writes it in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _range(metadata: list[Any]) -> str:
    """Return the limits of a number, of those that pydantic has noted."""
    limits = [
        sign.format(f"{getattr(limit, key):,}" if getattr(limit, key) < 1e9 else "2³¹")
        for limit in metadata
        for key, sign in SIGNS.items()
        if getattr(limit, key, None) is not None
    ]
    return ", ".join(limits)
