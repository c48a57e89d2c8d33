"""The folder for TFLite Micro; where its interpreter can be had, its own kernels run the model."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.test_cli import json_of
from tfresnet.deploy.formats import graph, microcontroller, tflite
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("micro") / "run"
    shutil.copytree(tiny_run.directory, run, ignore=shutil.ignore_patterns("export"))
    report = json_of("export", run, "--tflm", "--max-drop", 100, "--interface", "integer",
                     "--quantize", "int8")  # fmt: skip
    (artifact,) = report["artifacts"]
    assert (artifact["format"], artifact["quantization"]) == ("tflm", "int8")
    assert artifact["fully_integer"]
    assert json_of("info", artifact["path"])["input"]["dtype"] == "int8"
    assert artifact["microcontroller"]["boards"]["rpi-pico"]
    return run / "export" / "tflm"


def array(folder: Path) -> bytes:
    text = (folder / "model.cc").read_text()
    return bytes(int(value, 16) for value in re.findall(r"0x(..),", text))


def test_the_array_is_the_model_without_its_metadata(folder):
    content = array(folder)
    whole = (folder / "model_int8.tflite").read_bytes()
    assert whole.startswith(content)
    assert b"tfresnet.json" not in content
    assert graph.float_operations(content) == []


def test_a_runs_own_file_is_what_must_fit(folder):
    result = json_of("fit", folder.parent.parent, "--board", "rpi-pico")
    assert result["boards"][0]["model_bytes"] == len(array(folder))
    page = (folder.parent / "report.html").read_text()
    assert "On microcontrollers" in page and "rpi-pico" in page
    assert "it fits these boards: rpi-pico" in (folder.parent / "MODEL_CARD.md").read_text()


def test_the_header_registers_what_the_model_needs(folder):
    header = (folder / "model.h").read_text()
    calls = re.findall(r"resolver\.Add(\w+)\(\)", header)
    assert calls == ["Add", "Conv2D", "FullyConnected", "Mean", "Softmax"]
    assert "MicroMutableOpResolver<5>" in header
    assert 'kLabels[kClasses] = {"0", "1"' in header


def test_dense_layers_have_one_scale(folder):
    subgraph = graph.read(array(folder)).subgraphs[0]
    kernels = [t for t in subgraph.tensors if len(t.shape) == 2 and tuple(t.shape) == (10, 64)]
    assert [len(t.quantization.scale) for t in kernels] == [1]


def test_a_compiler_takes_it(folder, tmp_path):
    """With a stand-in for the one header of TFLite Micro that it includes."""
    compiler = next((c for c in ("g++", "clang++") if _there(c)), None)
    if not compiler:
        pytest.skip("needs g++ or clang++")
    micro = tmp_path / "tensorflow" / "lite" / "micro"
    micro.mkdir(parents=True)
    methods = "".join(
        f"TfLiteStatus {m}() {{ return kTfLiteOk; }}" for m in microcontroller.METHODS.values()
    )
    (micro / "micro_mutable_op_resolver.h").write_text(
        "#pragma once\nenum TfLiteStatus { kTfLiteOk };\n#define TF_LITE_ENSURE_STATUS(a) "
        "do { TfLiteStatus s = (a); if (s != kTfLiteOk) return s; } while (0)\n"
        "namespace tflite { template <unsigned N> class MicroMutableOpResolver { public: "
        f"{methods} }}; }}\n"
    )
    main = tmp_path / "main.cc"
    main.write_text(
        '#include <cstdio>\n#include "model.h"\nint main() { ModelResolver r; '
        'printf("%d %zu %s", RegisterOperations(r), g_model_size, kLabels[9]); }\n'
    )
    command = [compiler, "-std=c++17", "-Wall", "-Werror", f"-I{tmp_path}", f"-I{folder}",
               str(main), str(folder / "model.cc"), "-o", str(tmp_path / "main")]  # fmt: skip
    subprocess.run(command, check=True)
    printed = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True).stdout
    assert printed == f"0 {len(array(folder))} 9"


def _there(program: str) -> bool:
    return shutil.which(program) is not None


def test_float_operations_are_refused(tiny_run):
    content = tflite.convert(
        tiny_run.model(), tiny_run.spec, tiny_run.output, "float32", interface="float"
    )
    with pytest.raises(InputError, match="expected integer operations, got CONV_2D at"):
        microcontroller.check(content)


MICRO = """
import json, sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
answers = []
for pixels in np.load(sys.argv[2]):
    interpreter.set_input((pixels ^ 0x80).view(np.int8)[None], 0)
    interpreter.invoke()
    answers.append(interpreter.get_output(0)[0].tolist())
print(json.dumps(answers))
interpreter.print_allocations()
"""


@pytest.mark.skipif(
    "TFRESNET_DEVICE_PYTHON" not in os.environ,
    reason="needs TFRESNET_DEVICE_PYTHON, a Python with tflite-micro",
)
def test_tflite_micros_own_kernels_give_the_same_answers(folder, tiny_run, tmp_path):
    pixels = tiny_run.dataset().held_out.images[:20]
    np.save(tmp_path / "pixels.npy", pixels)
    model = folder / "model_int8.tflite"
    command = [os.environ["TFRESNET_DEVICE_PYTHON"], "-c", MICRO, model, tmp_path / "pixels.npy"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    answers = np.array(json.loads(done.stdout.splitlines()[0]))
    expected = open_model(model).run(pixels)
    scale = 1 / 256  # of the softmax's output
    # XNNPACK and the reference kernels round some values differently; a logit that comes out one
    # step higher (some 0.1 here) moves a probability by up to a quarter of that.
    assert np.abs((answers + 128) * scale - expected).max() <= 0.05
    used = int(re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)[1])
    estimate = microcontroller.arena_bytes(array(folder))
    assert used <= estimate <= 1.25 * used
