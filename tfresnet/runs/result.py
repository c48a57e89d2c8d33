"""What a run measured: the records that ``result.json`` and ``report.json`` hold."""

import math
from typing import Any

from pydantic import Field

from tfresnet.system.environment import RunEnvironment
from tfresnet.system.records import Record


def _judged_number(values: dict[str, Any]) -> float:
    """Return the accuracy of a record that is older than the keys ``metric`` and ``value``."""
    top1 = values.get("top1")
    return math.nan if top1 is None else top1


class SelectionRecord(Record):
    """What a file lost on the training images that ``--auto`` chooses on.

    The number of the task (``top1``, ``map``) is there under its own name.
    """

    n: int = Field(0, description="Images.")
    drop: float = Field(math.nan, description="Points lost against the checkpoint.")
    failures: list[str] = Field([], description="Why the file must not be trusted.")


class MicrocontrollerRecord(Record):
    """What a file takes on a microcontroller with TFLite Micro; see ``deploy.device.fit``."""

    flash_bytes: int = Field(0, description="Of the C array, and an estimate of the code.")
    ram_bytes: int = Field(0, description="Of the arena with 4-byte pointers, and what is beside.")
    arena_bytes: int = Field(0, description="Of the arena as it is on this machine.")
    boards: dict[str, bool] = Field({}, description="Whether it fits each board that is known.")


class PackedRecord(Record):
    """The same model with its weights packed, for TFLite Micro; sizes are those of the C arrays."""

    path: str
    bytes: int = Field(0, description="In flash.")
    unpacked_bytes: int = Field(0, description="In flash, of the model without packed weights.")
    arena_bytes: int = Field(0, description="In RAM, an estimate.")
    unpacked_arena_bytes: int = Field(0, description="In RAM, of the model without, an estimate.")
    same_weights: bool = Field(False, description="Unpacked, the weights are the same bits.")
    same_answers: bool | None = Field(
        None, description="TFLite Micro gives the same answers; None where it is not installed."
    )


class ArtifactRecord(Record):
    """What ``report.json`` says about an exported file.

    Shares are fractions of 1. The scores of other tasks are attributes too, by their JSON keys.
    """

    path: str
    format: str = Field("", description="A name of the table of formats: tflite, onnx, ...")
    quantization: str = Field("", description="float32, float16, dynamic, int8, ...")
    bytes: int = Field(0, description="Size of the file.")
    gzip_bytes: int | None = Field(None, description="Size of the file after gzip.")
    sparsity: float | None = Field(None, description="Share of the weights that are 0.")
    unique_weights: int | None = Field(
        None, description="Different values in a kernel, of the kernel that has most."
    )
    delegates: dict[str, str] | None = Field(
        None, description="What each accelerator runs of the file: all, part or none."
    )
    microcontroller: MicrocontrollerRecord | None = Field(
        None, description="What it takes there, of a file for TFLite Micro."
    )
    top1: float | None = Field(None, description="Accuracy, of a task with one class an image.")
    top5: float | None = Field(None, description="None where there are at most 5 classes.")
    map: float | None = Field(None, description="Mean average precision, of a multi-label task.")
    micro_f1: float | None = None
    macro_f1: float | None = None
    exact_match: float | None = None
    loss: float | None = None
    ece: float | None = Field(None, description="Expected calibration error.")
    metric: str = Field("top1", description="Name of the number that the file is judged by.")
    value: float = Field(default_factory=_judged_number, description="That number.")
    drop: float = Field(math.nan, description="Points by which it is lower than the checkpoint's.")
    agreement: float = Field(math.nan, description="Share of the checkpoint's decisions.")
    max_abs_error: float = Field(math.nan, description="Largest difference of a predicted number.")
    n: int | None = Field(None, description="Held-out images that it was measured on.")
    latency_ms: float = Field(math.nan, description="Of one image, with one thread.")
    speedup: float | None = Field(
        None, description="Times as fast as the float32 file here; None if there is no such file."
    )
    fully_integer: bool = Field(False, description="No operation computes with floats.")
    failures: list[str] = Field([], description="Why the file must not be trusted.")
    selection: SelectionRecord | None = None
    packed: PackedRecord | None = Field(
        None, description="Of TFLite Micro: the same with packed weights, if that is smaller."
    )


class RunResult(Record):
    """What ``result.json`` says about a finished run, or about converted weights.

    The headline numbers of a task other than one class an image are attributes too, by their JSON
    keys: ``test_map``, ``ema_map``, ``raw_map``, ``flip_map``.
    """

    preset: str
    arch: str
    seed: int | None = Field(description="None if the weights come from elsewhere.")
    parameters: int = Field(description="Trainable ones.")
    macs: int = Field(description="Multiply-adds of one image.")
    epochs: int | None = Field(description="None if the weights come from elsewhere.")
    test_top1: float | None = Field(
        description="Held-out accuracy of what is deployed, a fraction of 1; None of converted "
        "weights, and where an image may have any number of labels."
    )
    ema_top1: float | None = Field(None, description="Of the weights' moving average, if any.")
    raw_top1: float | None = Field(None, description="Of the last weights beside their average.")
    flip_top1: float | None = Field(
        None, description="With predictions averaged over an image and its horizontal flip."
    )
    test: dict[str, Any] = Field({}, description="All held-out numbers of what is deployed.")
    wall_seconds: float = Field(math.nan, description="Of training and its evaluations.")
    images_per_second: float = Field(math.nan, description="Of training.")
    petaflop: float | None = Field(
        None, description="The arithmetic of training, see ``training.work``; None if not known."
    )
    command: str | None = None
    commit: str | None
    weights: str | None = Field(None, description="File that converted weights come from.")
    weights_sha256: str | None = Field(
        None, description="Of a packed run: the digest of its variables, as info shows it."
    )
    artifacts: list[ArtifactRecord] = Field([], description="Of the last export.")
    config: dict[str, Any] = Field({}, description="The run's configuration, as config.yaml.")
    environment: RunEnvironment = Field(RunEnvironment(), description="As environment.json.")

    @classmethod
    def missing(cls, values: dict[str, Any]) -> list[str]:
        """Return the keys that every result has and ``values`` lacks."""
        required = {key for key, field in cls.model_fields.items() if field.is_required()}
        return sorted(required - set(values))
