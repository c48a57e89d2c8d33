"""What scripts import, and the files that the documentation names, exist."""

import ast
import importlib
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(
    [*(ROOT / "benchmarks").glob("*.py"), ROOT / "docs/hooks.py", *ROOT.glob("docs/*/*.py")]
)
OURS = ("tfresnet", "tests", "tools")


def named(module: str, name: str) -> object:
    """What ``from module import name`` gives."""
    found = importlib.import_module(module)
    return (
        getattr(found, name)
        if hasattr(found, name)
        else importlib.import_module(f"{module}.{name}")
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_finds_what_it_imports(script):
    """Also the attributes of modules, as in ``run_directory.open_run``."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    modules: dict[str, ModuleType] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in OURS:
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            for alias in node.names:
                found = named(node.module, alias.name)
                if isinstance(found, ModuleType):
                    modules[alias.asname or alias.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            assert module is None or hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("page", ["docs/reference/design.md", ".github/CONTRIBUTING.md"])
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:tfresnet|deploy|cli|tests|tools|docs|results)/[\w/.-]*)`", text)
    assert paths
    for path in paths:
        assert "NAME" in path or (ROOT / path).exists(), path


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_no_large_file_is_in_the_repository():
    """Weights that ship are the largest; what a run leaves behind belongs in runs/."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert len(files) > 400
    assert not [file.name for file in files if file.is_file() and file.stat().st_size > 1_000_000]
