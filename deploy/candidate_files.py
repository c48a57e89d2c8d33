"""Make and measure the files of the candidates of ``export --auto``."""

from functools import cached_property

from tfresnet.config.formats import FLOAT32, INT4_SELECTIVE, INT8_SELECTIVE, TFLITE, TFLM
from tfresnet.deploy import artifact, bits, inspect
from tfresnet.deploy.budget import Budget
from tfresnet.deploy.candidates import FIRST, Candidate
from tfresnet.deploy.compress import chain
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.deploy.compress.slim import Slimming
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import recipes, tflite
from tfresnet.deploy.formats.base import Compression, Target
from tfresnet.deploy.measure import MeasuredFile
from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError

EXAMINED = 50  # calibration images on which the sensitive layers are found
RESIZED = 3  # conversions until a file with 4-bit layers fits


class CandidateFiles:
    """Makes and measures the files of the candidates of one run.

    Args:
        context: the run, its data and the checkpoint's predictions.
        budget: the limits.
        qat_epochs: epochs of quantization-aware training.
    """

    def __init__(self, context: ExportContext, budget: Budget, qat_epochs: int):
        self.context, self.budget, self.qat_epochs = context, budget, qat_epochs
        self.row = TFLM if budget.for_microcontroller else TFLITE

    def make(self, candidate: Candidate) -> MeasuredFile:
        """Write and measure a candidate's file.

        Raises:
            InputError: such a file cannot be made of this network.
        """
        context, quantization = self.context, candidate.quantization
        if context.config.interface == "integer" and not quantization.integer:
            raise InputError(f"{quantization.name}: expected another --interface than integer")
        if candidate.slim:
            network = self._slim(candidate.slim)
            done = Compression(
                epochs=context.config.compress_epochs,
                slims=f"slim{candidate.slim:.0%}".rstrip("%"),
                slim=network.slim,
            )
            return artifact.make(context, network.model, Target(self.row, quantization, done))
        target = self._target(candidate)
        model = self._trained_for(target) if candidate.trained else context.model
        return artifact.make(context, model, target)

    def _target(self, candidate: Candidate) -> Target:
        """Return which file a candidate is."""
        done = Compression(qat_epochs=self.qat_epochs) if candidate.trained else Compression()
        if candidate.layers_in_float:
            layers = tuple(self.sensitive_layers[: candidate.layers_in_float])
            return Target(TFLITE, INT8_SELECTIVE, done, keep_float=layers)
        if candidate.quantization is INT4_SELECTIVE:
            return Target(TFLITE, INT4_SELECTIVE, done, four_bits=self.four_bit_layers)
        return Target(self.row, candidate.quantization, done)

    def _slim(self, share: float) -> FunctionalNetwork:
        """Return the network without a share of the channels inside its blocks, fine-tuned."""
        context = self.context
        network = FunctionalNetwork.of(context.model, context.run.spec.shape)
        slimming = Slimming.of(context.config.replaced(slim=share))
        slimming.check(network)
        directory = context.directory / f"auto_slim_{share:g}"
        fine_tune = FineTuner(context.fine_tuned_run, context.dataset, directory)
        return slimming.apply(network, fine_tune)

    def _trained_for(self, target: Target) -> keras.Model:
        """Return the network after quantization-aware training for the bits of a file."""
        context = self.context
        suffix = "" if target.quantization is FIRST else f"_{target.quantization.name}"
        directory = context.directory / f"auto_qat{suffix}"
        network = FunctionalNetwork.of(context.model, context.run.spec.shape)
        fine_tune = FineTuner(context.fine_tuned_run, context.dataset, directory)
        return chain.quantizer_for(target, self.qat_epochs).apply(network, fine_tune).model

    @cached_property
    def floating(self) -> bytes:
        """The float32 TFLite file of the run's network, with a float input."""
        return tflite.converted(self.context.source(self.context.model), FLOAT32, "float")

    @cached_property
    def sensitive_layers(self) -> list[str]:
        """The layers in which int8 quantization adds most noise, worst first.

        They are named by their output tensors in the float32 TFLite file.
        """
        source = self.context.source(self.context.model)
        quantized = tflite.with_integer_activations(source, recipes.Recipe(), "float")
        images = self.context.calibration.images[:EXAMINED]
        errors = inspect.layer_errors(quantized, self.floating, images)
        return [error.tensor for error in inspect.worst(errors)]

    @cached_property
    def four_bit_layers(self) -> tuple[str, ...]:
        """The layers with 4-bit weights in the file that fits ``budget.max_bytes``.

        If none fits, these are all layers with weights, but for depthwise convolutions.
        """
        images = self.context.calibration.images[:EXAMINED]
        layers = bits.sensitivities(self.floating, images)
        needed, limit = 0, self.budget.max_bytes or 0
        chosen: list[bits.LayerBits] = []
        for _ in range(RESIZED):
            target = Target(TFLITE, INT4_SELECTIVE, four_bits=tuple(x.tensor for x in chosen))
            excess = artifact.size(self.context, self.context.model, target) - limit
            if excess <= 0 or len(chosen) == len(layers):
                break
            needed = max(needed, sum(x.saved for x in chosen)) + excess
            chosen = bits.allocate(layers, needed)
        return tuple(layer.tensor for layer in chosen)
