"""The documentation: its commands parse, what is marked to run runs, what it quotes is there."""

import ast
import contextlib
import glob
import importlib.util
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import click
import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.test_cli import tfresnet
from tfresnet.cli.configuration import FLAGS
from tfresnet.cli.export_options import export_config
from tfresnet.cli.main import COMMANDS, main
from tfresnet.config import loading, sections
from tfresnet.models import costs
from tools.records import read_all

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
FENCED = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
OPERATORS = set("();<>|&")  # of the shell
WIDTH = 110
EXAMPLE = "99.17 99.44 99.72 100.00"  # of the quickstart, in README.md


class Block(NamedTuple):
    """A block of code, and what stands behind its fence: ``console run``."""

    info: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fenced(page: Path) -> list[Block]:
    found = FENCED.finditer(page.read_text(encoding="utf-8"))
    return [Block(match[2].strip(), textwrap.dedent(match[3])) for match in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def indented(page: Path) -> Block:
    """All indented code of a page that has nothing else indented by four."""
    lines = [line for line in prose(page).splitlines() if line.startswith("    ")]
    return Block("", textwrap.dedent("\n".join(lines)))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every ``tfresnet ...`` in a shell's lines, without what is around it."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not re.search(r"(^|[\s;&|])tfresnet\s", f"{line} "):
            continue
        lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if not set(token) <= OPERATORS:
                words.append(token)
                continue
            while words and re.match(r"\w+=", words[0]):  # a variable for this command only
                words.pop(0)
            if words[:1] == ["tfresnet"] and len(words) > 1:
                yield words[1:]
            words = []


def check(name: str, *arguments: str) -> None:
    """Parse a command without running it, and see that its settings are possible."""
    if name.startswith("-"):
        with contextlib.suppress(click.exceptions.Exit):
            main.make_context("tfresnet", [name, *arguments])
        return
    command = main.get_command(click.Context(main), name)
    assert command, f"there is no command {name}"
    with contextlib.suppress(click.exceptions.Exit):  # --help
        given = command.make_context(name, list(arguments)).params
        check_settings(given)
        if name == "launch":
            check(*given["training"])
        if name == "export":
            export_config(given, given["auto"], threads=1)


# Of pictures, which may stand for a preset.
FOLDERS = ("pictures", "streets", "cells", "path/to/folder")


def check_settings(given: dict) -> None:
    settings = [f"{FLAGS[key]}={given[key]}" for key in FLAGS if given.get(key) is not None]
    settings += given.get("overrides", ())
    preset = given.get("preset")
    if preset in loading.presets():
        loading.load(preset, settings)
    else:
        known = preset is None or preset.endswith(".yaml") or preset in FOLDERS
        assert known, f"there is no preset {preset}"
        loading.from_overrides(settings)
    assert given.get("arch") is None or given["arch"] in costs.table()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_parses(page):
    blocks = fenced(page)
    if page.name == "README.md":
        blocks.append(indented(page))
    for block in blocks:
        for words in commands(block.text):
            try:
                check(*words)
            except (click.ClickException, ValueError) as error:
                pytest.fail(f"{name_of(page)}: tfresnet {shlex.join(words)}: {error}")


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_console_block_is_copied_as_its_commands(page):
    """The style sheet hides prompts and output from the copy button: each line is a command's."""
    for block in fenced(page):
        if block.info.startswith("console"):
            lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
            assert all(line.startswith("$ ") for line in lines if line), block.text


def test_the_style_sheet_of_the_site_is_used():
    rules = (ROOT / "docs" / "extra.css").read_text(encoding="utf-8")
    assert "[data-md-copying] .gp, [data-md-copying] .go { display: none; }" in rules
    assert "extra_css: [extra.css]" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_readme_has_commands_that_are_found():
    words = list(commands(indented(ROOT / "README.md").text))
    assert ["train"] in words  # behind && after pip install
    assert ["demo", "--fetch"] in words  # before a comment
    assert len(words) > 8


def test_commands_are_found_in_all_that_a_shell_allows():
    text = "$ A=1 tfresnet train x \\\n    --seed 1 | tail -1\ntfresnet presets x > y.yaml  # or so"
    assert list(commands(text)) == [["train", "x", "--seed", "1"], ["presets", "x"]]


@pytest.mark.parametrize(
    "words",
    [
        ["trian"],
        ["train", "--epoch", "3"],
        ["train", "quikstart"],
        ["train", "--set", "train.epoch=3"],
        ["train", "--arch", "resnet21"],
        ["export", "runs/x", "--quantize", "int5"],
    ],
)
def test_a_command_that_would_not_work_is_noticed(words):
    with pytest.raises((click.ClickException, ValueError, AssertionError)):
        check(*words)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_exist(page):
    for name in re.findall(r"`tfresnet ([a-z][\w-]*)", prose(page)):
        assert name in COMMANDS


def runnable(page: Path) -> list[Block]:
    return [block for block in fenced(page) if block.info.endswith(" run")]


def run_console(text: str) -> None:
    found = list(commands(text))
    assert len(found) == len(re.findall(r"^\$ ", text, re.MULTILINE)), "more than tfresnet to run"
    for words in found:
        globs = [sorted(glob.glob(word)) if "*" in word else [word] for word in words]
        result = tfresnet(*(word for words in globs for word in words))
        assert result.exit_code == 0, f"tfresnet {shlex.join(words)}: {result.output}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow) if page.name == "README.md" else page
        for page in PAGES
        if runnable(page)
    ],
    ids=name_of,
)
def test_what_is_marked_to_run_runs(page, tmp_path, monkeypatch):
    """In order and in one folder; a block with a title is a file that the next ones need."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in runnable(page):
        if title := re.search(r'title="([\w.]+)"', block.info):
            (tmp_path / title[1]).write_text(block.text, encoding="utf-8")
        elif block.info == "console run":
            run_console(block.text)
        else:
            assert block.info == "python run"
            exec(compile(block.text, name_of(page), "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.ipynb")), ids=name_of)
def test_notebooks_run(path, tmp_path):
    """In a kernel of their own, from the top; a cell that fails raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert [out.text for out in outputs if out.get("name") == "stderr"] == []


def texts_of_the_sources() -> list[str]:
    """Every text in the sources, with … for each value that is put into it."""
    found = []
    for folder in ("tfresnet", "deploy", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_messages_that_are_explained_are_in_the_sources():
    page = (ROOT / "docs/reference/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    assert len(messages) > 40
    texts = texts_of_the_sources()
    for message in messages:
        pattern = re.compile(".*".join(map(re.escape, re.split(r"…|\{[^}]*\}", message))))
        assert any(map(pattern.search, texts)), message


def test_every_command_and_preset_is_documented():
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS)
    for name in COMMANDS:
        assert f"`tfresnet {name}`" in text
    for name in loading.presets():
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name


def test_the_table_of_presets_has_their_epochs():
    page = (ROOT / "docs/tutorials/cifar10.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| .* \| (\d+) \| [^|]*\|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == {name for name in loading.presets() if "cifar" in name} | {
        "resnet18_baseline"
    }
    for name, epochs in rows:
        assert loading.load(name).train.epochs == int(epochs), name


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """What MkDocs runs; it needs nothing of MkDocs itself."""
    found = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_reference_has_every_key_with_its_choices_and_limits(hooks):
    page = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    text = hooks.on_page_markdown(page)
    for section in (sections.ModelConfig, sections.DataConfig, sections.TrainConfig):
        for key in section.model_fields:
            assert f"\n| `{key}` | " in text
    assert "<!--" not in text
    assert "| `flip` | `false`, `true`, `alternating` | `true` |" in text
    assert "| `image_size` | int or list or `null` | `null` |  |" in text
    assert "| `dropout` | float | `0` | ≥ 0, < 1 |" in text
    assert all(f"\n| `{name}` | " in text for name in loading.presets())


def test_marks_for_tests_are_not_shown(hooks):
    assert hooks.on_page_markdown("```console run\n$ a\n```") == "```console\n$ a\n```"
    assert hooks.on_page_markdown('```yaml title="a.yaml" run\n') == '```yaml title="a.yaml"\n'


def test_the_navigation_has_every_page():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in DOCS}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.is_file(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_prose_is_at_most_110_wide(page):
    free = ("|", "#", "!")  # tables, headings and admonitions can't be broken
    long = [x for x in prose(page).splitlines() if len(x) > WIDTH and not x.startswith(free)]
    assert not long


def test_measured_figures_have_one_place_that_they_come_from():
    """Accuracies with two digits are measurements: of a record, or on the page of them all.

    Those of the run that the README shows, of the quickstart, are an example.
    """
    places = [ROOT / "results" / "RESULTS.md", ROOT / "docs" / "reference" / "measured.md"]
    known = " ".join(place.read_text(encoding="utf-8") for place in places) + EXAMPLE
    runs = read_all(ROOT / "results").runs.values()
    files = [file for run in runs for file in run.artifacts]
    known += " ".join(
        f"{100 * share:.2f}" for file in files for share in (file.value, file.agreement)
    )
    for page in PAGES:
        for figure in re.findall(r"(\d?\d\d\.\d\d) ?%", page.read_text(encoding="utf-8")):
            assert figure in known, name_of(page)
