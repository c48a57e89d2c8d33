"""The report of an export, typed, as ``report.json`` holds it; old files open (``runs.result``)."""

from typing import Any

from pydantic import Field

from tfresnet.runs.result import ArtifactRecord, Record


class CalibrationRecord(Record):
    """The training images that set the ranges of integer activations."""

    count: int = Field(0, description="Images; 0 if no file has integer activations.")
    seed: int | None = Field(None, description="Chose them.")
    sha256: str | None = Field(None, description="Of their bytes, in their order.")
    left_out: int = Field(0, description="Images that were drawn but are measured on too.")
    method: str = Field("min-max", description="How they set the ranges.")
    errors: dict[str, float] = Field(
        {}, description="Of each method, int8's squared error, as a share of the output's square."
    )
    chosen_on: int = Field(0, description="Other training images that the method was chosen on.")


class TriedRecord(Record):
    """One candidate of ``--auto``."""

    rung: str = Field(description="The candidate, for people.")
    path: str | None = Field(None, description="Its file; None if none could be made.")
    misses: list[str] = Field([], description="Why it is not within the budget.")
    bytes: int | None = Field(None, description="Its size.")
    drop: float | None = Field(None, description="Points lost on the images that were chosen on.")
    latency_ms: float | None = Field(None, description="Of one image, with one thread.")


class SlimRecord(Record):
    """The network that is left when channels were removed."""

    run: str = Field(description="Its run directory.")
    inner_widths: list[int] = Field(description="As model.inner_widths.")
    parameters: int = Field(description="Trainable ones.")
    macs: int = Field(description="Multiply-adds of one image.")


class SpeedRecord(Record):
    """Which of int8's static ranges and dynamic ones is faster on this processor."""

    static_ms: float = Field(description="Of one image, with one thread.")
    dynamic_ms: float = Field(description="The same.")
    faster: str = Field(description="static, dynamic, or neither: within a tenth.")
    path: str | None = Field(None, description="The dynamic file; None if it was only timed.")
    misses: list[str] = Field([], description="Why that file is not within the budget.")


class Report(Record):
    """What an export came to.

    The checkpoint's number in a task other than one class an image is an attribute too, by its JSON
    key: ``checkpoint_map``.
    """

    checkpoint_top1: float | None = Field(None, description="A fraction of 1.")
    checkpoint: dict[str, Any] = Field({}, description="All numbers of the checkpoint.")
    n: int = Field(0, description="Held-out images that were measured on.")
    calibration: CalibrationRecord = Field(default_factory=CalibrationRecord)
    processor: str | None = Field(None, description="Of this machine, which latencies are of.")
    processor_note: str | None = Field(None, description="Why integers are slow on it, if so.")
    artifacts: list[ArtifactRecord] = Field([], description="The files, in order.")
    slim: SlimRecord | None = Field(None, description="Of --slim: the smaller network.")
    bundle: str | None = Field(None, description="The folder for a device.")
    target: str = Field("any", description="The processor that the bundle is for.")
    bundle_reason: str | None = Field(None, description="Why it holds the file that it holds.")
    stale: list[str] = Field([], description="Models of an earlier export, of other weights.")
    ladder: list[TriedRecord] | None = Field(None, description="Of --auto: what was tried.")
    chosen: str | None = Field(None, description="Of --auto: the file within the budget.")
    speed: SpeedRecord | None = Field(
        None, description="Of --auto: whether static or dynamic ranges are faster here."
    )
    nearest: str | None = Field(
        None, description="Of --auto, if no file is within the budget: the one that misses least."
    )
    selection: dict[str, Any] | None = Field(
        None, description="Of --auto: the training images that were chosen on."
    )

    @property
    def failed(self) -> list[ArtifactRecord]:
        """The files that must not be used."""
        return [artifact for artifact in self.artifacts if artifact.failures]
