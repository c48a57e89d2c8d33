"""What a model file, a run or an architecture is, as one dictionary of JSON types.

All have ``arch parameters macs input labels quantization``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfresnet.config.formats import FLOAT32, INT8, QUANTIZATIONS
from tfresnet.deploy.device import runtime
from tfresnet.runtime.spec import to_flat

OUTPUT = ("activation", "multi_label")  # what a spec says of the output
PROVENANCE = ("preset", "seed", "epochs", "commit", "data", "calibration_images", "calibration")


def model_file(path: Path) -> dict[str, Any]:
    """Describe a file that tfresnet exported, from what is inside it; loads no TensorFlow."""
    metadata = runtime.read_metadata(path)
    spec = metadata["spec"]
    return {
        "arch": metadata.get("arch"),
        "parameters": metadata.get("parameters"),
        "macs": metadata.get("macs"),
        "input": _input(spec, _dtype(metadata)),
        "labels": spec["labels"],
        **_output(spec),
        "quantization": metadata.get("quantization"),
        "measured": metadata.get("measured"),
        "provenance": {key: metadata.get(key) for key in PROVENANCE},
    }


def run(directory: Path) -> dict[str, Any]:
    """Describe a run directory, with the step, the epoch and a digest of its newest weights.

    ``measured`` is of the deployed weights, as ``tfresnet evaluate`` prints it, without the single
    classes; None before the training is done.
    """
    from tfresnet.models import functional
    from tfresnet.runs import run_directory

    opened = run_directory.open_run(directory)
    result, config = opened.result, opened.config
    test = result.test if result else {}
    measured = {k: v for k, v in test.items() if not k.startswith("per_class")}
    model, step = opened.model_and_step()
    return {
        "arch": model.name,
        "parameters": functional.parameters(model),
        "macs": functional.macs(model, opened.spec.shape),
        "input": _input(to_flat(opened.spec, opened.output), dtype="float32"),
        "labels": list(opened.output.labels),
        **_output(to_flat(opened.spec, opened.output)),
        "quantization": FLOAT32.name,
        "step": step,
        "epoch": max((r["epoch"] for r in opened.records() if r["step"] <= step), default=0),
        "weights_sha256": run_directory.weights_sha256(model),
        "measured": measured or None,
        "provenance": {
            "preset": config.name,
            "seed": config.train.seed,
            "epochs": config.train.epochs,
            "commit": result.commit if result else None,
            "data": config.data.model_dump(exclude={"data_dir"}),
        },
    }


def architecture(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Describe an architecture at its native size, or at ``data.image_size``.

    Without overrides the costs are those that were recorded, and no TensorFlow is loaded.

    Raises:
        InputError: no such architecture, an unknown key, or a bad value.
    """
    from tfresnet.config import loading
    from tfresnet.models import costs
    from tfresnet.runs import preflight

    config = loading.from_overrides([f"model.arch={name}", *overrides])
    preflight.network(config.model)
    if not overrides:
        row = costs.table()[name]
        shape = (row["image_size"], row["image_size"], 3)
        return _architecture(name, shape, row["parameters"], row["macs"])
    from tfresnet.models import zoo

    native = zoo.native_size(config.model)
    height, width = config.data.height_and_width or (native, native)
    channels = config.data.channels
    cost = zoo.cost(config.model, (height, width, channels))
    return _architecture(name, (height, width, channels), *cost)


def _architecture(
    name: str, shape: tuple[int, int, int], parameters: int, macs: int
) -> dict[str, Any]:
    height, width, channels = shape
    return {
        "arch": name,
        "parameters": parameters,
        "macs": macs,
        "input": {"height": height, "width": width, "channels": channels, "dtype": "float32"},
        "labels": [],
        "quantization": FLOAT32.name,
    }


def _dtype(metadata: dict[str, Any]) -> str:
    """Return the type of the numbers that an exported file takes."""
    quantization = QUANTIZATIONS.get(str(metadata.get("quantization")), INT8)
    kinds = {"uint8": "uint8", "float": "float32", "integer": f"int{quantization.activations}"}
    return kinds.get(str(metadata.get("interface")), "uint8")


def _output(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what makes the probabilities, and whether a picture may have any number of labels."""
    return {"activation": "softmax", "multi_label": False} | {
        key: spec[key] for key in OUTPUT if key in spec
    }


def _input(spec: dict[str, Any], dtype: str) -> dict[str, Any]:
    values = {key: value for key, value in spec.items() if key not in ("labels", *OUTPUT)}
    return {**values, "channels": len(values["mean"]), "dtype": dtype}
