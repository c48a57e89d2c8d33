"""Quantize float TFLite files with litert-quantizer, in ways that TensorFlow's converter lacks.

They are int16 activations, int4 weights, weights only, int8 with some layers left in float, and
clustered kernels, whose weights stay shared.
"""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfresnet.config.formats import Quantization
from tfresnet.deploy.formats import activation_ranges, graph, kernels, tflite_gptq
from tfresnet.system.native_stderr import captured

if TYPE_CHECKING:
    from litert_quantizer import recipe_manager


@dataclass(frozen=True)
class Recipe:
    """How a file is quantized.

    Attributes:
        weights: bits of the weights; one scale per output channel.
        activations: bits of the activations, which calibration images set; None for float.
        dynamic: whether float activations are quantized, and results dequantized, at run time.
        edges: bits of the weights of the first layer and of those that give the logits, which lose
            most.
        keep_float: layers that are not quantized, by the names of their output tensors.
        four_bits: convolutions and dense layers with 4-bit weights, by the names of their output
            tensors in this file or in another one of the same Keras layers.
        clusters: convolutions with at most so many different weights get one scale, so that one
            weight is one integer in all output channels.
        dense_per_tensor: dense layers have one scale, not one per output.
        ranges: how calibration images set ranges, a key of ``activation_ranges.METHODS``.
    """

    weights: int = 8
    activations: int | None = 8
    dynamic: bool = False
    edges: int | None = None
    keep_float: tuple[str, ...] = ()
    four_bits: tuple[str, ...] = ()
    clusters: int = 0
    dense_per_tensor: bool = False
    ranges: str = "min-max"

    @property
    def coarse(self) -> bool:
        """Whether some weights have less than 8 bits, so that it matters how they are rounded."""
        return self.weights < 8 or bool(self.four_bits)


EVERYTHING = ".*"


def of(quantization: Quantization) -> Recipe:
    """Return the recipe of a quantization."""
    return Recipe(
        weights=quantization.weights,
        activations=quantization.activations,
        dynamic=quantization.dynamic,
        edges=quantization.edges,
    )


def quantize(
    content: bytes,
    recipe: Recipe,
    images: np.ndarray | None = None,
    input_range: tuple[float, float] | None = None,
) -> bytes:
    """Quantize a float TFLite file; the types of its input and output stay.

    Args:
        content: a TFLite file with one input.
        images: calibration inputs [n, H, W, C] of its type, where activations are quantized.
        input_range: the smallest and largest input; by default those of the images.

    Weights with less than 8 bits are rounded by GPTQ where there are calibration inputs.
    """
    from litert_quantizer import quantizer

    result = None
    with captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keeping all tensors is what calibration is
        manager = _manager(recipe, content)
        if recipe.activations and images is not None:
            result = _ranges(content, images, manager)
            if recipe.ranges != "min-max":
                for name, ends in activation_ranges.of(content, images, recipe.ranges).items():
                    if name in result:
                        _set_range(result, name, ends)
            if input_range:
                _set_range(result, graph.input_name(content), input_range)
        tool = quantizer.Quantizer(bytearray(content), manager.get_quantization_recipe())
        quantized = bytes(tool.quantize(result, enable_progress_report=False).quantized_model)
    if recipe.activations and recipe.coarse and images is not None:
        quantized = tflite_gptq.apply(quantized, content, images)
    # litert-quantizer puts large weights behind the flatbuffer, where other tools lose them.
    model = graph.read(quantized)
    _compare_integers(model)
    return graph.packed(model)


def _compare_integers(model: Any) -> None:
    """Let each arg max of dequantized int8 numbers read the integers: their order is the same."""
    for subgraph in model.subgraphs:
        made = {int(index): o for o in subgraph.operators for index in o.outputs}
        for decision in [o for o in subgraph.operators if _name(model, o) == "ARG_MAX"]:
            before = made.get(int(decision.inputs[0]))
            if before is None or _name(model, before) != "DEQUANTIZE":
                continue
            if subgraph.tensors[before.inputs[0]].type == schema.TensorType.INT8:
                decision.inputs[0] = before.inputs[0]
        read = {int(index) for o in subgraph.operators for index in o.inputs}
        read |= {int(index) for index in subgraph.outputs}
        subgraph.operators = [o for o in subgraph.operators if read & {*map(int, o.outputs)}]


def _name(model: Any, operation: Any) -> str:
    return graph.operator_name(model.operatorCodes[operation.opcodeIndex])


def _manager(recipe: Recipe, content: bytes) -> "recipe_manager.RecipeManager":
    """Return litert-quantizer's form of a recipe, in which later entries win."""
    from litert_quantizer import recipe_manager
    from litert_quantizer.qtyping import QuantGranularity

    manager = recipe_manager.RecipeManager()

    def add(regex: str, operation: str, weights: int, *granularity: QuantGranularity) -> None:
        if recipe.activations:
            manager.add_static_config(regex, operation, recipe.activations, weights, *granularity)
        elif recipe.dynamic:
            manager.add_dynamic_config(regex, operation, weights, *granularity)
        else:
            manager.add_weight_only_config(regex, operation, weights, *granularity)

    def leave(regex: str, operation: str) -> None:
        manager.add_quantization_config(regex, operation, algorithm_key="no_quantize")

    if recipe.activations or not recipe.dynamic:
        add(EVERYTHING, "*", 8)
    for operation in kernels.DENSE:
        add(EVERYTHING, operation, recipe.weights)
    if recipe.edges:
        add(EVERYTHING, "FULLY_CONNECTED", recipe.edges)
        add(
            _exactly([_first_convolution(content), *kernels.last(content)]), "CONV_2D", recipe.edges
        )
    if four_bits := _of_layers(content, recipe.four_bits):
        for operation in kernels.DENSE:
            add(_exactly(four_bits), operation, 4)
    if recipe.dense_per_tensor:
        add(
            EVERYTHING,
            "FULLY_CONNECTED",
            recipe.edges or recipe.weights,
            QuantGranularity.TENSORWISE,
        )
    if shared := _with_shared_weights(content, recipe.clusters):
        add(_exactly(shared), "CONV_2D", recipe.weights, QuantGranularity.TENSORWISE)
    if recipe.activations:
        for border in ("INPUT", "OUTPUT"):  # their types are set afterwards, in tflite.py
            leave(EVERYTHING, border)
    if recipe.keep_float:
        leave(_exactly(recipe.keep_float), "*")
    return manager


def _ranges(
    content: bytes, images: np.ndarray, manager: "recipe_manager.RecipeManager"
) -> dict[str, dict]:
    """Return the smallest and largest value of every tensor over all images."""
    from litert_quantizer import calibrator
    from litert_quantizer.utils import qsv_utils

    observer = calibrator.Calibrator(
        bytearray(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    signature, name = _signature(content)
    observer.calibrate({signature: [{name: image[None]} for image in images]}, manager)
    return observer.get_model_qsvs()


def _set_range(result: dict, tensor: str, ends: tuple[float, float]) -> None:
    for key, end in zip(("min", "max"), ends, strict=True):
        result[tensor][key] = np.full_like(result[tensor][key], end)


def _exactly(names: Iterable[str]) -> str:
    """Return a pattern for these tensors; litert-quantizer puts a ``;`` behind each name."""
    return "^(" + "|".join(re.escape(name) for name in names) + ");?$"


def _signature(content: bytes) -> tuple[str, str]:
    """Return the key of a file's only signature, and the name of its only input."""
    from ai_edge_litert.interpreter import Interpreter

    ((key, signature),) = Interpreter(model_content=content).get_signature_list().items()
    return key, signature["inputs"][0]


def _first_convolution(content: bytes) -> str:
    return next(o.outputs[0] for o in graph.operations(content) if o.name == "CONV_2D")


def _of_layers(content: bytes, tensors: Iterable[str]) -> list[str]:
    """Return the outputs of the Keras layers that have others of these names in another file.

    A network after training is a functional model, in which layers are not inside blocks.
    """
    layers = {kernels.layer_name(tensor) for tensor in tensors}
    return [k.tensor for k in kernels.dense(content) if kernels.layer_name(k.tensor) in layers]


def _with_shared_weights(content: bytes, clusters: int) -> list[str]:
    """Return the outputs of the clustered convolutions: all but the first with so few weights."""
    _, *others = [(tensor, k) for name, tensor, k in graph.kernels(content) if name == "CONV_2D"]
    return [tensor for tensor, kernel in others if graph.different(kernel) <= clusters]
