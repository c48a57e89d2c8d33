"""Damage files at random and read them, thousands of times: ``python -m tests.fuzzing coco 0 500``.

Each case is drawn from its number, so that it can be repeated. The cases run in child processes: a
reader in C that crashes or hangs takes its child along, and the next case starts another one. Each
result is a line of JSON: kind, number, what became of it, its seconds of processor time, and the
bytes of memory that it took more than there were before.
"""

import contextlib
import csv
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

READ, REFUSED, ESCAPED, CRASHED, HUNG = "read", "refused", "traceback", "crash", "hang"
SECONDS = 30  # of a case, after which it is taken for a hang
LONGEST = 1000  # characters of the line that a user gets
GOLDEN = Path(__file__).parent / "golden"
ODD = (
    "", "-1", "0", "1", "1e309", "-1e309", "NaN", "Infinity", "99999999999999999999", "1.5", "null",
    "true", "[]", "{}", '""', "\x00", "\u202e", "../../etc/passwd", "a" * 5000, "&a [*a]",
    "!!python/name:os", "<!DOCTYPE x [<!ENTITY e 'e'>]>", "&e;", "&#0;", "é", "\U0001f642",
    "0x7fffffff", "2147483648", "-9223372036854775809",
)  # fmt: skip
# Values that leave JSON, YAML and XML what they are, and where there are values.
ODD_VALUES = (
    "-1",
    "0",
    "1e309",
    "NaN",
    "99999999999999999999",
    "1.5",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"x"',
    '"' + "a" * 2000 + '"',
    "[[1]]",
    "-0.0",
    "2147483648",
    "[1, 2, 3, 4, 5]",
)
VALUE = re.compile(rb"""(?<=[:>,\[ ])("[^"]*"|-?\d[\d.]*|[A-Za-z_][\w.-]*)(?=\s*[<,\]}\r\n])""")
TOKEN = re.compile(rb"[A-Za-z_]+|-?\d+(?:\.\d+)?|[^\sA-Za-z0-9]")


@dataclass(frozen=True)
class Case:
    """What became of one damaged file."""

    kind: str
    number: int
    outcome: str
    seconds: float = 0.0
    bytes: int = 0
    text: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of files: whole ones by their names, and how one that lies somewhere is read."""

    files: Callable[[], dict[str, bytes]]
    read: Callable[[Path], Any]
    is_text: bool = False


def damaged(content: bytes, draw: random.Random, is_text: bool) -> bytes:
    """Change a file at some places: bytes, pieces, words, or its length."""
    data = bytearray(content)
    if is_text and draw.random() < 0.5:
        for _ in range(draw.choice((1, 1, 2, 3))):
            if spots := list(VALUE.finditer(data)):
                data[slice(*draw.choice(spots).span())] = draw.choice(ODD_VALUES).encode()
        return bytes(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 8, 64, 512))
        what = draw.choice(
            ("word",) * 6 + ("flip", "set", "cut", "double", "end")
            if is_text
            else ("flip", "set", "set", "extreme", "cut", "double", "swap", "end")
        )
        if what == "word" and (found := list(TOKEN.finditer(data))):
            span = draw.choice(found).span()
            data[slice(*span)] = draw.choice(ODD).encode("utf-8", "surrogatepass")
        elif what == "flip" and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif what == "set" and at < len(data):
            data[at] = draw.randrange(256)
        elif what == "extreme":
            data[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
        elif what == "cut":
            del data[at : at + length]
        elif what == "double":
            data[at:at] = data[at : at + length]
        elif what == "swap":
            other = draw.randrange(len(data) + 1)
            data[at : at + length] = data[other : other + length]
        elif what == "end" and draw.random() < 0.5:
            del data[at:]
    return bytes(data)


def run(kind: str, start: int, count: int) -> Iterator[Case]:
    """Yield what became of ``count`` cases."""
    number = start
    while number < start + count:
        for case in _in_child(kind, number, start + count):
            yield case
            number = case.number + 1


def run_elsewhere(kind: str, start: int, count: int) -> list[Case]:
    """Return what became of ``count`` cases, run by another process: one with TensorFlow's threads
    must not fork."""
    command = [sys.executable, "-m", "tests.fuzzing", kind, str(start), str(count)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=GOLDEN.parents[1]
    )
    return [Case(**json.loads(line)) for line in done.stdout.splitlines()]


def _in_child(kind: str, start: int, stop: int) -> Iterator[Case]:
    """Run cases in a fork until one of them ends it, which is the last that is yielded."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        with os.fdopen(send, "w") as out:
            _work(kind, start, stop, out)
        os._exit(0)
    os.close(send)
    done = start - 1
    with os.fdopen(receive) as lines:
        for line in lines:
            case = Case(**json.loads(line))
            done = case.number
            yield case
    _, status = os.waitpid(child, 0)
    if status and done + 1 < stop:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
        yield Case(kind, done + 1, HUNG if name == "SIGALRM" else CRASHED, text=name)


def _work(kind: str, start: int, stop: int, out: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C complain there
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files, one = KINDS[kind].files(), KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as whole:
        for name, content in files.items():  # whole ones first, so that all is imported by then
            _read_one(one, Path(whole, name), content)
        for number in range(start, stop):
            signal.alarm(SECONDS)
            case = _case(kind, one, number, files, Path(folder))
            signal.alarm(0)
            print(json.dumps(asdict(case)), file=out, flush=True)


def _read_one(one: Kind, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    one.read(path)


def _case(kind: str, one: Kind, number: int, files: dict[str, bytes], folder: Path) -> Case:
    from tfresnet.runtime.errors import InputError

    draw = random.Random(f"{kind} {number}")
    name = draw.choice(sorted(files))
    content = damaged(files[name], draw, one.is_text)
    before, began = _memory(reset=True), time.process_time()
    outcome, text = READ, ""
    try:
        _read_one(one, folder / name, content)
    except InputError as error:
        outcome, text = REFUSED, str(error)
        if len(text.splitlines()) != 1 or len(text) > LONGEST:
            outcome = ESCAPED
    except BaseException:
        outcome, text = ESCAPED, traceback.format_exc()
    seconds = time.process_time() - began
    return Case(kind, number, outcome, seconds, _memory() - before, text[-3000:])


def _memory(reset: bool = False) -> int:
    """Return the largest resident memory since the last reset, in bytes; 0 outside of Linux."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0
    except OSError:
        return 0


# The kinds of files.


def _golden(pattern: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {p.name: p.read_bytes() for p in sorted((GOLDEN / "files").glob(pattern))}


def _classify(path: Path) -> None:
    import numpy as np

    from tfresnet.runtime.predictor import open_file

    model = open_file(path)
    assert model.run(np.zeros((1, *model.spec.shape), np.uint8)).shape[0] == 1


def _without_checksum(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content.replace(b'"sha256"', b'"sha255"') for name, content in files.items()}


def _interpret(path: Path) -> None:
    """What an interpreter does with a file whose checksum nobody has looked at."""
    import numpy as np

    from tfresnet.runtime.backends import open_model

    model = open_model(path)
    model.outputs(np.zeros((1, *model.input_shape[1:]), np.uint8))


def _pictures() -> dict[str, bytes]:
    from PIL import Image

    found = {}
    noise = Image.effect_noise((40, 24), 80)
    for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000"):
        for mode in ("L", "RGB"):
            buffer = io.BytesIO()
            try:
                noise.convert(mode).save(buffer, form)
            except (OSError, KeyError):  # a Pillow without that format
                continue
            found[f"{mode}.{form.lower()}"] = buffer.getvalue()
    return found


def _look(path: Path) -> None:
    from tfresnet.data.images import examine
    from tfresnet.runtime import preprocess
    from tfresnet.runtime.spec import InputSpec

    examine(path)
    assert preprocess.read(str(path), InputSpec(16, 16)).shape == (16, 16, 3)


def _weights(*suffixes: str) -> Callable[[], dict[str, bytes]]:
    def made() -> dict[str, bytes]:
        import h5py
        import numpy as np
        from safetensors.numpy import save

        from tests import torch_files

        array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        state = {"fc.weight": torch_files.Tensor(array), "fc.bias": torch_files.bfloat16(array)}
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["layer_names"] = [b"dense"]
            group = file.create_group("dense")
            group.attrs["weight_names"] = [b"dense/kernel:0"]
            group["dense/kernel:0"] = array
        files = {
            "w.safetensors": save({"fc.weight": array, "fc.bias": array[0, 0]}),
            "w.h5": buffer.getvalue(),
            "w.pth": torch_files.zip_file({"net": state, "epoch": 3}),
            "w.tar": torch_files.legacy_file({"net": state, "epoch": 3}),
        }
        return {name: content for name, content in files.items() if name.endswith(suffixes)}

    return made


def _read_weights(path: Path) -> None:
    from tfresnet.models import pretrained

    pretrained.read(path, "resnet50")


def _read_alone(path: Path) -> None:
    """What h5py does with a file that no child has tried."""
    from tfresnet.models import hdf5_trial

    hdf5_trial.main(str(path))


def _yaml() -> dict[str, bytes]:
    presets = Path(__file__).parent.parent / "tfresnet" / "presets"
    found = {path.name: path.read_bytes() for path in sorted(presets.glob("*.yaml"))}
    return found | {"config.yaml": (GOLDEN / "runs/finished/config.yaml").read_bytes(),
                    "sweep.yaml": (GOLDEN / "sweep.yaml").read_bytes()}  # fmt: skip


def _read_yaml(path: Path) -> None:
    from tfresnet.config import loading, pipeline
    from tfresnet.runtime.errors import InputError
    from tfresnet.sweep import plan

    if path.name == "sweep.yaml":
        plan.trials(plan.check(loading.read_as(plan.Sweep, path), path), path, Path("runs"))
        return
    with contextlib.suppress(InputError):
        loading.read_as(pipeline.Pipeline, path)
    loading.load(str(path))


VOC = """<?xml version="1.0"?><annotation><filename>a.png</filename>
<size><width>40</width><height>24</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>40</xmax><ymax>24</ymax></bndbox>
</object></annotation>"""
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 24}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 19, 10], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [5, 5, 30.5, 19], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "none"}, {"id": 2, "name": "dog"}],
}
YOLO = {
    "data.yaml": b"path: .\ntrain: images\nval: images\nnames: {0: cat, 1: dog}\n",
    "labels/a.txt": b"0 0.5 0.5 0.2 0.25\n1 0.3 0.4 0.1 0.1\n",
}


def _boxes(path: Path) -> None:
    """Read a folder with boxes, of which one file was damaged."""
    from PIL import Image

    from tfresnet.data import boxes

    root = path.parent.parent if path.parent.name.lower() in ("annotations", "labels") else (
        path.parent
    )  # fmt: skip
    pictures = root / ("images" if (root / "data.yaml").exists() else "JPEGImages")
    if not pictures.exists():
        pictures.mkdir()
        for name in ("a", "b"):
            Image.new("RGB", (40, 24)).save(pictures / f"{name}.png")
    boxes.scan(root)


def _yolo(path: Path) -> None:
    root = path.parent.parent if path.parent.name == "labels" else path.parent
    for name, content in YOLO.items():
        if root / name != path:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(content)
    _boxes(path)


def _table() -> dict[str, bytes]:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [["file", "labels", "split"], ["a.png", "cat dog", "train"], ["b.png", "dog", "val"]]
    )
    return {"labels.csv": buffer.getvalue().encode()}


def _read_table(path: Path) -> None:
    from PIL import Image

    from tfresnet.data import label_table

    for name in ("a", "b"):
        if not (picture := path.parent / f"{name}.png").exists():
            Image.new("RGB", (4, 4)).save(picture)
    label_table.scan_folder(path.parent)


def _run_files() -> dict[str, bytes]:
    names = ("spec.json", "result.json", "environment.json", "metrics.jsonl", "config.yaml")
    return {name: (GOLDEN / "runs/finished" / name).read_bytes() for name in names}


def _open_run(path: Path) -> None:
    """Open a run of which one file was damaged."""
    from tfresnet.runs.run_directory import open_run

    for name, content in _run_files().items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    run_ = open_run(path.parent)
    run_.finished_result(), run_.records(), run_.environment, run_.epochs_done()


KINDS = {
    "tflite": Kind(_golden("*.tflite"), _classify),
    "onnx": Kind(_golden("*.onnx"), _classify),
    "safetensors": Kind(_weights("safetensors"), _read_weights),
    "h5": Kind(_weights("h5"), _read_weights),
    "pth": Kind(_weights("pth", "tar"), _read_weights),
    "yaml": Kind(_yaml, _read_yaml, is_text=True),
    "voc": Kind(lambda: {"Annotations/a.xml": VOC.encode()}, _boxes, is_text=True),
    "coco": Kind(
        lambda: {"annotations/train.json": json.dumps(COCO).encode()}, _boxes, is_text=True
    ),
    "yolo": Kind(lambda: YOLO, _yolo, is_text=True),
    "csv": Kind(_table, _read_table, is_text=True),
    "pictures": Kind(_pictures, _look),
    "runs": Kind(_run_files, _open_run, is_text=True),
    # Only to see what interpreters do by themselves; tfresnet tries such files in a child first.
    "bare-tflite": Kind(lambda: _without_checksum(_golden("*.tflite")()), _interpret),
    "bare-h5": Kind(_weights("h5"), _read_alone),
    "bare-onnx": Kind(lambda: _without_checksum(_golden("*.onnx")()), _interpret),
}

if __name__ == "__main__":
    for found in run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps(asdict(found)), flush=True)
