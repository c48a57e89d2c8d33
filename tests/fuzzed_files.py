"""The kinds of files that :mod:`tests.fuzzing` damages: whole ones, and what reads them."""

import contextlib
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Kind:
    """A kind of files: whole ones by their names, and how one that lies somewhere is read."""

    files: Callable[[], dict[str, bytes]]
    read: Callable[[Path], Any]
    is_text: bool = False


def _golden(pattern: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {p.name: p.read_bytes() for p in sorted((GOLDEN / "files").glob(pattern))}


def _classify(path: Path) -> None:
    import numpy as np

    from tfresnet.runtime.predictor import open_file

    model = open_file(path)
    assert model.run(np.zeros((1, *model.spec.shape), np.uint8)).shape[0] == 1


def without_checksum(files: dict[str, bytes]) -> dict[str, bytes]:
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
    "bare-tflite": Kind(lambda: without_checksum(_golden("*.tflite")()), _interpret),
    "bare-h5": Kind(_weights("h5"), _read_alone),
    "bare-onnx": Kind(lambda: without_checksum(_golden("*.onnx")()), _interpret),
}
