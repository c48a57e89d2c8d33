"""Describe a model file, a run or an architecture as a dictionary of JSON types.

All have ``arch parameters macs input labels quantization``.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfresnet.config.formats import FLOAT32, INT8, QUANTIZATIONS
from tfresnet.runtime.metadata import ModelMetadata, read_metadata
from tfresnet.runtime.spec import InputSpec, OutputSpec

PROVENANCE = (
    "preset", "seed", "epochs", "commit", "data", "calibration_images", "calibration", "recipe",
    "compression", "opset", "versions",
)  # fmt: skip


def model_file(path: Path) -> dict[str, Any]:
    """Describe a file that tfresnet exported, from what is inside it; loads no TensorFlow."""
    metadata = read_metadata(path)
    return {
        "arch": metadata.arch,
        "parameters": metadata.parameters,
        "macs": metadata.macs,
        **_slim((metadata.config or {}).get("model", {}).get("inner_widths")),
        "input": _input(metadata.spec, _dtype(metadata)),
        **_output(metadata.output),
        "output": metadata.output_kind,
        "quantization": metadata.quantization,
        "measured": metadata.measured or None,
        "provenance": {key: getattr(metadata, key) for key in PROVENANCE},
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
        **_slim(config.model.inner_widths),
        "input": _input(opened.spec, dtype="float32"),
        **_output(opened.output),
        "quantization": FLOAT32.name,
        "step": step,
        "epoch": max((r["epoch"] for r in opened.records() if r.get("step", 0) <= step), default=0),
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


def _slim(inner_widths: list[int] | None) -> dict[str, list[int]]:
    """Return the entry of a network with other widths than its architecture's."""
    return {"inner_widths": inner_widths} if inner_widths else {}


def _dtype(metadata: ModelMetadata) -> str:
    """Return the data type of an exported file's input."""
    quantization = QUANTIZATIONS.get(str(metadata.quantization), INT8)
    kinds = {"uint8": "uint8", "float": "float32", "integer": f"int{quantization.activations}"}
    return kinds.get(metadata.input_type, "uint8")


def _output(output: OutputSpec) -> dict[str, Any]:
    return {
        "task": output.task,
        "labels": list(output.labels),
        "colors": list(output.colors),
        "activation": output.activation,
        "multi_label": output.multi_label,
    }


def _input(spec: InputSpec, dtype: str) -> dict[str, Any]:
    lists = {"mean": list(spec.mean), "std": list(spec.std)}
    return {**asdict(spec), **lists, "channels": spec.shape[2], "dtype": dtype}
