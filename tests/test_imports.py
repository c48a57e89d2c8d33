"""The floors of the house: every import points down, and the device side has no TensorFlow."""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "tfresnet" / "runtime"
# From the ground up; a module may import those below it and its own floor.
FLOORS = [
    ["tfresnet.runtime", "tfresnet.keras2", "tfresnet.system",
     "tfresnet.tasks.intervals", "tfresnet.tasks.headings", "tfresnet.tasks.average_precision"],
    ["tfresnet.config"],
    ["tfresnet.data", "tfresnet.models"],
    ["tfresnet.tasks"],
    ["tfresnet.evaluation"],
    ["tfresnet.training"],
    ["tfresnet.runs"],
    ["tfresnet.sweep", "tfresnet.explain", "tfresnet.launch"],
    ["tfresnet.deploy.formats", "tfresnet.deploy.calibration", "tfresnet.deploy.measured_data",
     "tfresnet.deploy.reference", "tfresnet.deploy.gate", "tfresnet.deploy.records",
     "tfresnet.deploy.answers", "tfresnet.deploy.choice"],
    ["tfresnet.deploy.compress", "tfresnet.deploy.device", "tfresnet.deploy.inspect",
     "tfresnet.deploy.selection", "tfresnet.deploy.targets"],
    ["tfresnet.deploy.range_choice"],
    ["tfresnet.deploy.context"],
    ["tfresnet.deploy.measure", "tfresnet.deploy.artifact", "tfresnet.deploy.report"],
    ["tfresnet.deploy"],
    ["tfresnet.api"],
    ["tfresnet.cli"],
]  # fmt: skip
PAIRS = [
    ("tfresnet.data", "tfresnet.models"),
    ("tfresnet.deploy.compress", "tfresnet.deploy.device"),
    ("tfresnet.deploy.measure", "tfresnet.deploy.report"),
]
STRANGERS = [*PAIRS, *((other, one) for one, other in PAIRS)]  # neither imports the other
FOLDERS = {"tfresnet": "tfresnet", "deploy": "tfresnet.deploy", "cli": "tfresnet.cli"}


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(p for p in parts if p != "__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    """Every tfresnet module that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # of the runtime, which is copied under another name
                assert path.parent == RUNTIME and node.level == 1, f"{path}: relative import"
                names |= {f"tfresnet.runtime.{node.module or alias.name}" for alias in node.names}
                continue
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        name for name in names if name.startswith("tfresnet.") and name != "tfresnet.__version__"
    }


def floor(module: str) -> int:
    found = [
        (len(prefix), level)
        for level, prefixes in enumerate(FLOORS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    if found:
        return max(found)[1]
    raise AssertionError(f"{module} stands on no floor; add it to FLOORS")


@pytest.mark.parametrize("module", [m for m in modules() if m != "tfresnet"])
def test_imports_point_down(module):
    for name in imported(modules()[module]):
        assert floor(name) <= floor(module), f"{module} imports {name}"
        for one, other in STRANGERS:
            assert not (module.startswith(one) and name.startswith(other)), f"{module}: {name}"


# What a device has: the standard library, numpy, Pillow and one of the interpreters; cryptography
# for signatures, where they are checked.
ON_A_DEVICE = {
    *sys.stdlib_module_names, "numpy", "PIL", "ai_edge_litert", "tflite_runtime", "onnxruntime",
    "openvino", "cryptography",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("*.py")), ids=lambda path: path.stem)
def test_the_runtime_imports_itself_and_what_a_device_has(path):
    """Itself relatively: a bundle holds it under another name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        else:
            continue
        assert {name.split(".")[0] for name in names} <= ON_A_DEVICE


def test_one_place_knows_which_files_are_pictures():
    knowing = [m for m, path in modules().items() if "registered_extensions" in path.read_text()]
    assert knowing == ["tfresnet.runtime.picture_files"]


def test_one_place_crops_and_resizes():
    """Pillow's resize with a box; what a graph does is in ``decoding``, and tested against it."""
    cropping = [m for m, path in modules().items() if "resample, box=" in path.read_text()]
    assert cropping == ["tfresnet.runtime.preprocess"]


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("tf_keras", {"tfresnet.keras2"}),
        ("tensorflow_model_optimization", {"tfresnet.deploy.compress"}),
    ],
)
def test_a_library_that_may_be_replaced_is_imported_in_one_place(library, places):
    for module, path in modules().items():
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom)
                else []
            )
        }  # fmt: skip
        if any(name.split(".")[0] == library for name in names):
            assert any(module == p or module.startswith(p + ".") for p in places), module


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after ``code``."""
    names = "sorted({m.split('.')[0] for m in sys.modules})"
    probe = f"{code}\nimport sys, json; print(json.dumps({names}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"tensorflow", "tf_keras", "keras", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    "code",
    [
        "import tfresnet; assert tfresnet.deploy.Classifier",
        "import tfresnet.runtime.spec, tfresnet.config.loading",
        "import tfresnet.runtime.command_line, tfresnet.deploy.device.benchmark",
        "import tfresnet.deploy.describe",
        "import tfresnet.cli.main, tfresnet.cli.train, tfresnet.cli.export, tfresnet.cli.predict",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert not loaded_by(code) & HEAVY


def test_a_clone_finds_its_parts_where_another_tfresnet_is_installed():
    """Python takes the folder it is started in first; a plain install has no finder of its own."""
    code = (
        "import sys\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import tfresnet.deploy, tfresnet.cli.main\n"
        "from tfresnet.runs import experiments\n"
        "assert tfresnet.deploy.Classifier and experiments.shipped()\n"
        "print(tfresnet.deploy.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == ROOT / "deploy" / "__init__.py"


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is a matter of x86"
)
def test_tensorflow_imported_first_without_onednn_is_warned_of():
    code = (
        "import os; os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'\n"
        "import tensorflow; del os.environ['TF_ENABLE_ONEDNN_OPTS']\n"
        "import tfresnet"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "RuntimeWarning: TensorFlow was imported before tfresnet" in done.stderr


def test_specs_metadata_and_errors_are_read_without_numpy():
    code = "import tfresnet.runtime.spec, tfresnet.runtime.metadata, tfresnet.runtime.terminal"
    assert not loaded_by(code) & (HEAVY | {"numpy", "PIL", "pydantic"})


def test_help_loads_neither_numpy_nor_pydantic():
    code = (
        "from click.testing import CliRunner\nfrom tfresnet.cli.main import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0"
    )
    assert not loaded_by(code) & (HEAVY | {"numpy", "pydantic", "yaml"})


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tfresnet', 'tensorflow', 'tf_keras', 'keras'):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
"""


def where_there_is_no_tfresnet(code: str, folder: Path) -> subprocess.CompletedProcess:
    """Run code in a folder where neither tfresnet nor TensorFlow can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], cwd=folder, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        | {"PYTHONDONTWRITEBYTECODE": "1"},  # the bundle is that of all tests
    )  # fmt: skip


def test_the_bundle_runs_where_there_is_no_tfresnet_and_no_tensorflow(exported):
    code = """
sys.argv = ['classify.py', 'model_int8.tflite', 'sample.png', '--top', '2']
import runpy
runpy.run_path('classify.py', run_name='__main__')
"""
    done = where_there_is_no_tfresnet(code, Path(exported["bundle"]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sample.png: ")
    assert done.stdout.count("%") == 2
    assert done.stderr == ""


def test_the_bundle_has_the_whole_runtime_and_its_classes(exported):
    bundle = Path(exported["bundle"])
    copied = {path.name: path.read_bytes() for path in (bundle / "tfresnet_runtime").iterdir()}
    copied.pop("__pycache__", None)
    assert copied == {path.name: path.read_bytes() for path in RUNTIME.glob("*.py")}
    code = """
import classify
model = classify.Classifier('model_int8.tflite')
assert isinstance(classify.open_file('model_int8.tflite'), classify.Classifier)
print(len(model.classify('sample.png', 3)), model.metadata.arch)
try:
    model.classify('none.png')
except classify.InputError as error:
    print(error)
"""
    done = where_there_is_no_tfresnet(code, bundle)
    assert done.stdout.splitlines() == [
        "3 resnet8", "expected an image, none.png does not exist",
    ], done.stderr  # fmt: skip


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx"])
def test_the_runtimes_folder_runs_alone_under_any_name(exported, tiny_run, tmp_path, name):
    shutil.copytree(RUNTIME, tmp_path / "anything", ignore=shutil.ignore_patterns("__pycache__"))
    sample = next((tiny_run.directory / "samples").glob("*.png"))
    code = f"""
import importlib, pathlib
for path in sorted(pathlib.Path('anything').glob('*.py')):
    importlib.import_module(f'anything.{{path.stem}}')
from anything.predictor import Classifier
print(Classifier({str(tiny_run.directory / "export" / name)!r}).classify({str(sample)!r}))
"""
    done = where_there_is_no_tfresnet(code, tmp_path)
    from tfresnet.deploy import Classifier

    expected = Classifier(tiny_run.directory / "export" / name).classify(sample)
    assert done.stdout.strip() == str(expected), done.stderr


@pytest.mark.parametrize("package", ["models", "tasks", "training"])
def test_no_modules_import_each_other_in_a_circle(package):
    """Also not for the sake of types alone."""
    inside = {name: path for name, path in modules().items() if f"tfresnet.{package}." in name}
    graph = {
        name: {m for m in inside for i in imported(path) if i == m or i.startswith(f"{m}.")}
        - {name}
        for name, path in inside.items()
    }
    while graph:
        free = {name for name, needs in graph.items() if not needs & set(graph)}
        assert free, f"in or behind a circle: {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in free}
