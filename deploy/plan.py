"""What to export: which files, in which form, and how strictly they are judged."""

from dataclasses import dataclass

from tfresnet.runtime.errors import InputError

# The quantisations of each format, in the order in which they are made.
# tflm is a folder for TFLite Micro: a C array beside a .tflite.
FORMATS: dict[str, tuple[str, ...]] = {
    "tflite": ("float32", "float16", "dynamic", "int8", "int16x8", "int4", "int4_mixed",
               "int8_weights", "int4_weights"),
    "onnx": ("float32", "float16", "int8"),
    "saved_model": ("float32",),
    "tflm": ("int8",),
}  # fmt: skip
KINDS = FORMATS["tflite"]
INTEGER = ("int8", "int16x8", "int4", "int4_mixed")  # throughout, activations too
FINE_TUNED = ("tflite", "tflm")  # what is made of pruned and clustered networks
USUAL = ("float32", "float16", "dynamic", "int8")
INTERFACES = ("uint8", "integer", "float")


@dataclass(frozen=True)
class Target:
    """One file to be made.

    Attributes:
        format: a key of ``FORMATS``.
        quantization: one of its values.
        suffix: of the file's name, for what was done to the network: ``_qat``.
        clusters: different weights that each clustered kernel may have in the file; 0 for any.
    """

    format: str
    quantization: str
    suffix: str = ""
    clusters: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        if self.format == "saved_model":
            return f"saved_model{self.suffix}"
        if self.format == "tflm":
            return f"tflm{self.suffix}/model_{self.quantization}{self.suffix}.tflite"
        return f"model_{self.quantization}{self.suffix}.{self.format}"


@dataclass(frozen=True)
class Options:
    """What to export and how strictly to judge it.

    Attributes:
        formats: of ``FORMATS``.
        quantizations: of ``KINDS``; each format is made in those that it knows, else in its first.
        interface: ``uint8``: pixels in, float32 probabilities out; ``integer`` (TFLite):
            the activations' type in and out; ``float``: ``(pixel - 128) / 128`` in.
        batch: images at a time; 0 for any number; None: 1 for TFLite, any number for the others.
        layout: of ONNX inputs, ``nhwc`` or ``nchw``.
        opset: of ONNX, 13 to 18.
        max_drop: largest loss of top-1, or with any number of labels a picture of mAP, against the
            checkpoint, in percentage points.
        calibration_images: training images that set the ranges of integer activations.
        calibration_seed: chooses them.
        verify_images: held-out images to measure on; None for all.
        qat_epochs: of quantisation-aware training; its int8 files come beside the others.
        prune: share of the weights to set to 0 in fine-tuning, from 0 to 1.
        sparsity: ``unstructured``, or ``2:4``: of every 4 weights in a row 2 stay.
        cluster: different values that the kernel of a convolution may have in the file, after
            fine-tuning; 0 for any.
        compress_epochs: of fine-tuning with pruning or clusters.
        features: export the embedding (the head's input), into ``export/features/``. It is measured
            with the checkpoint's head behind it.
        threads: for measuring accuracy (latency is always that of one thread).
    """

    formats: tuple[str, ...] = ("tflite", "onnx")
    quantizations: tuple[str, ...] = USUAL
    interface: str = "uint8"
    batch: int | None = None
    layout: str = "nhwc"
    opset: int = 18
    max_drop: float = 1.0
    calibration_images: int = 500
    calibration_seed: int = 0
    verify_images: int | None = None
    qat_epochs: int = 0
    prune: float = 0.0
    sparsity: str = "unstructured"
    cluster: int = 0
    compress_epochs: int = 5
    features: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        floats = [kind for kind in self.quantizations if kind not in INTEGER]
        if self.interface == "integer" and (floats or not set(self.formats) <= {"tflite", "tflm"}):
            raise InputError(
                f"--interface integer: expected --tflite and only the kinds {', '.join(INTEGER)}, "
                f"got {', '.join(floats or self.formats)}"
            )
        if "saved_model" in self.formats and self.interface != "uint8":
            raise InputError(f"--saved-model: expected --interface uint8, got {self.interface}")
        if self.batch is not None and "tflm" in self.formats:
            raise InputError(f"--tflm: expected no --batch (it is 1), got {self.batch}")
        if (self.prune or self.cluster) and not set(self.formats) & set(FINE_TUNED):
            raise InputError(
                f"--prune, --cluster: expected --tflite or --tflm, got {', '.join(self.formats)}"
            )
        if self.prune and self.cluster == 2:
            raise InputError("--cluster: expected at least 3 with --prune (one is 0), got 2")
        if self.prune and self.sparsity == "2:4" and self.prune != 0.5:
            raise InputError(f"--prune: expected 0.5 with --sparsity 2:4, got {self.prune:g}")

    def targets(self) -> list[Target]:
        """Return the files to write of the network as it is."""
        return [
            Target(form, kind)
            for form in self.formats
            for kind in [k for k in FORMATS[form] if k in self.quantizations] or FORMATS[form][:1]
        ]

    def calibrates(self) -> bool:
        """Tell whether any file has integer activations, whose ranges images must set."""
        integer = any(target.quantization in INTEGER for target in self.targets())
        return integer or self.qat_epochs > 0

    def count(self) -> int:
        """Return how many files there will be, those of fine-tuned networks too."""
        targets = self.targets()
        fine_tuned = (
            [t for t in targets if t.format in FINE_TUNED] if self.prune or self.cluster else []
        )
        others = (Target("onnx", "int8"), Target("tflm", "int8"))
        trained = 1 + sum(t in targets for t in others) if self.qat_epochs else 0
        return len(targets) + len(fine_tuned) + trained

    def batch_of(self, form: str) -> int | None:
        """Return the images at a time of a format; None for any number."""
        default = 1 if form in ("tflite", "tflm") else 0
        return (default if self.batch is None else self.batch) or None
