"""What an export makes, how, and how strictly its files are judged."""

import re
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from tfresnet.config.formats import (
    FORMATS,
    OFFERED,
    USUAL,
    USUAL_FORMATS,
    FormatRow,
    Quantization,
    format_named,
    names,
    quantization_named,
)
from tfresnet.config.processors import PROCESSORS, Processor
from tfresnet.config.sections import Section
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.runtime.metadata import DETECTIONS

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


class ExportConfig(Section):
    """What to export and how strictly to judge it; one that is impossible can't be made.

    Raises:
        InputError: an unknown key, a bad value, or values that do not go together; in one line that
            begins with the key.
    """

    formats: tuple[str, ...] = Field(
        tuple(row.name for row in USUAL_FORMATS),
        min_length=1,
        description="Of the files: " + ", ".join(FORMATS),
    )
    quantizations: tuple[str, ...] = Field(
        tuple(kind.name for kind in USUAL),
        min_length=1,
        description=f"Repeat for several: {', '.join(OFFERED)} (default: {names(USUAL)}). A format "
        "that has none of them is made in its first.",
    )
    interface: Literal["uint8", "integer", "float"] = Field(
        "uint8",
        description="uint8: pixels in, float probabilities out; integer: int8 (or int16) in and "
        "out; float: (pixel - 128) / 128 in.",
    )
    batch: int | None = Field(
        None,
        ge=0,
        description="Images at a time; 0 for any number (default: 1 for TFLite, else any).",
    )
    layout: Literal["nhwc", "nchw"] = Field("nhwc", description="Layout of the ONNX input.")
    opset: int = Field(18, ge=13, le=18, description="Opset version of ONNX.")
    features: bool = Field(False, description="The embedding, without the head.")
    output: Literal["auto", "class_map", "class_probabilities", "boxes", "detections"] = Field(
        "auto",
        description="What a file gives. Of segmentation: class_map (auto) or class_probabilities, "
        "for each pixel; of detection: boxes, those of all cells (auto), or detections, the best "
        "100, one picture at a time: the suppression of overlapping boxes is in the file.",
    )
    target: Literal["any", "here", "cpu-avx2", "cpu-vnni", "arm64", "mcu", "npu"] = Field(
        "any",
        description="Processor that the bundle is for. Of the files that passed it gets the one "
        "that is fastest there: by measurement if this machine is of that kind, or here; else by a "
        "rule. any: int8. mcu: TFLite Micro's; npu: integers only.",
    )
    max_drop: float = Field(
        1.0,
        description="Largest loss of the task's number (top-1, mAP, mIoU or mAP50) against the "
        "checkpoint, in points.",
    )
    calibration_images: int = Field(
        500, ge=1, description="Training images that set integer ranges."
    )
    calibration_method: Literal["auto", "min-max", "percentile", "mse", "entropy"] = Field(
        "auto",
        description="How these set the ranges: all values (min-max), all but the outermost "
        "ten-thousandth, the least squared error, or the least divergence; auto: what is closest "
        "to the checkpoint on training images held back from the others.",
    )
    calibration_seed: int = Field(0, ge=0, description="Seed that draws the calibration images.")
    verify_images: int | None = Field(
        None, ge=1, description="Held-out images to measure on (default: all)."
    )
    qat_epochs: int = Field(
        0, ge=0, description="Also int8 files after N epochs of quantization-aware training."
    )
    slim: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Also files of a smaller network: without this share of the channels inside "
        "its blocks, fine-tuned (ResNet).",
    )
    max_macs: int | None = Field(
        None,
        ge=1,
        description="Instead of slim: as many channels fewer as are needed for at most N "
        "multiply-adds, also written 20M.",
    )
    slim_by: Literal["taylor", "norm"] = Field(
        "taylor",
        description="Which channels go first. taylor: those whose loss would change the loss of "
        "training images least; norm: those with the smallest scale in batch normalization.",
    )
    slim_multiple: int = Field(
        8, ge=1, description="Channels of a slim convolution are a multiple of this."
    )
    prune: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Also files with this share of the weights at 0, fine-tuned (TFLite).",
    )
    sparsity: Literal["unstructured", "2:4"] = Field(
        "unstructured", description="Pattern of prune; 2:4: 2 of every 4 weights."
    )
    cluster: int = Field(
        0,
        ge=0,
        description="Also files with N different values in each kernel, fine-tuned (TFLite).",
    )
    compress_epochs: int = Field(
        5, ge=1, description="Epochs of fine-tuning for each of slim, prune and cluster."
    )
    threads: int = Field(
        1, ge=1, description="Threads to measure accuracy with; latency is always that of one."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_line(error)) from None

    def replaced(self, **changes: Any) -> "ExportConfig":
        """Return the configuration with other values for some keys, checked like any other."""
        given = {key: getattr(self, key) for key in self.model_fields_set}
        return ExportConfig(**given | changes)

    @property
    def slims(self) -> bool:
        """Whether channels are removed."""
        return bool(self.slim or self.max_macs)

    @property
    def processor(self) -> Processor:
        """The processor that the bundle is for."""
        return PROCESSORS[self.target]

    @property
    def rows(self) -> list[FormatRow]:
        """The formats."""
        return [format_named(name) for name in self.formats]

    @property
    def kinds(self) -> list[Quantization]:
        """The quantizations."""
        return [quantization_named(name) for name in self.quantizations]

    def batch_of(self, row: FormatRow) -> int | None:
        """Return the images at a time of a format; None for any number."""
        usual = 1 if self.output == DETECTIONS else row.batch
        return usual if self.batch is None else self.batch or None

    @model_validator(mode="before")
    @classmethod
    def _of_the_target(cls, values: Any) -> Any:
        """Take from the processor what was not given: formats, quantizations, interface."""
        processor = PROCESSORS.get(str(values.get("target")))
        if processor is None or not processor.formats:
            return values
        usual = {
            "formats": tuple(row.name for row in processor.formats),
            "quantizations": tuple(kind.name for kind in processor.order),
            "interface": processor.interface,
        }
        return usual | values

    @field_validator("formats", "quantizations", mode="before")
    @classmethod
    def _without_repetition(cls, value: Any) -> Any:
        return tuple(dict.fromkeys(value)) if isinstance(value, (list, tuple)) else value

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            format_named(name)
        return value

    @field_validator("quantizations")
    @classmethod
    def _known_quantizations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OFFERED:
                raise unknown("quantization", name, OFFERED)
        return value

    @field_validator("max_macs", mode="before")
    @classmethod
    def _with_unit(cls, value: Any) -> Any:
        """Return the number that ``20M`` or ``1.5G`` stands for; anything else as it is."""
        found = re.fullmatch(r"([0-9.]+)([kKMG])", value) if isinstance(value, str) else None
        try:
            return round(float(found[1]) * UNITS[found[2].upper()]) if found else value
        except ValueError:
            return value

    @field_validator("cluster")
    @classmethod
    def _enough_clusters(cls, value: int) -> int:
        if value == 1:
            raise ValueError("expected 0 (off) or at least 2 clusters, got 1")
        return value

    @model_validator(mode="after")
    def _possible(self) -> "ExportConfig":
        rows, asked = self.rows, ", ".join(self.formats)
        if (wanted := self.processor.formats) and not set(wanted) & set(rows):
            raise ValueError(
                f"formats: expected {names(wanted)} for the target {self.target}, got {asked}"
            )
        if "quantizations" in self.model_fields_set:
            made = {kind for row in rows for kind in row.quantizations}
            if others := [kind for kind in self.kinds if kind not in made]:
                known = names(kind for kind in OFFERED.values() if kind in made)
                raise ValueError(
                    f"quantizations: expected {known}, which {asked} can have, got {names(others)}"
                )
        if self.output == DETECTIONS and self.batch not in (None, 1):
            raise ValueError(f"batch: expected 1 with the output detections, got {self.batch}")
        for row in rows:
            self._check_form(row)
        if self.slim and self.max_macs:
            raise ValueError(f"max_macs: expected none beside slim, got {self.max_macs}")
        tuned = {
            "slim": self.slim,
            "max_macs": self.max_macs,
            "prune": self.prune,
            "cluster": self.cluster,
            "qat_epochs": self.qat_epochs,
        }
        chosen = [key for key, value in tuned.items() if value]
        if self.features and chosen:
            raise ValueError(f"features: expected no {chosen[0]} beside it, got both")
        if (self.prune or self.cluster) and not any(row.takes_compressed for row in rows):
            able = names(row for row in FORMATS.values() if row.takes_compressed)
            key = "prune" if self.prune else "cluster"
            raise ValueError(f"{key}: expected one of the formats {able}, got {asked}")
        if self.prune and self.cluster == 2:
            raise ValueError("cluster: expected at least 3 with prune (one is 0), got 2")
        if self.prune and self.sparsity == "2:4" and self.prune != 0.5:
            raise ValueError(f"prune: expected 0.5 with the sparsity 2:4, got {self.prune:g}")
        return self

    def _check_form(self, row: FormatRow) -> None:
        """Raise a ValueError if a format can't be made with this interface or batch."""
        floats = [kind for kind in self.kinds if not kind.integer]
        if self.interface not in row.interfaces:
            raise ValueError(
                f"interface: expected {' or '.join(row.interfaces)} for {row.name}, got "
                f"{self.interface}"
            )
        if self.interface == "integer" and floats:
            able = names(kind for kind in OFFERED.values() if kind.integer)
            raise ValueError(
                f"interface: expected only the quantizations {able} with integer, got "
                f"{names(floats)}"
            )
        if self.output == DETECTIONS and not row.suppresses:
            able = names(row for row in FORMATS.values() if row.suppresses)
            raise ValueError(
                f"output: expected one of the formats {able} with detections, got {row.name}"
            )
        if self.output == DETECTIONS and self.interface == "integer":
            raise ValueError("interface: expected uint8 or float with the output detections")
        if self.batch is not None and row.fixed_batch:
            raise ValueError(
                f"batch: expected none for {row.name}, where it is {row.batch}, got {self.batch}"
            )


def _line(error: ValidationError) -> str:
    """Return pydantic's first error in one line: key, expected, got."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"export: {unknown('key', key, ExportConfig.model_fields)}"
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return f"{key}: {reason}" if key else reason
    expected = first["msg"].removeprefix("Input should be ")
    if first["type"] == "too_short":
        expected = "at least one"
    return f"{key}: expected {expected}, got {first['input']!r:.60}"
