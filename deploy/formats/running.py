"""Run a float32 TFLite file and read the tensors inside it."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tfresnet.system.native_stderr import captured


def tensors(content: bytes, names: Sequence[str]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return a function that runs an image and gives the float32 tensors of some names.

    Args:
        content: a float32 TFLite file with a float input.
        names: of tensors; those of other types are left out.

    Returns:
        A function from an input, float32 [H, W, C], to arrays [batch, ...].
    """
    from ai_edge_litert.interpreter import Interpreter

    with captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keeping all tensors is what this is for
        interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
    entry, wanted = interpreter.get_input_details()[0], set(names)
    indices = {
        detail["name"]: detail["index"]
        for detail in interpreter.get_tensor_details()
        if detail["name"] in wanted and detail["dtype"] == np.float32
    }

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        interpreter.set_tensor(entry["index"], image[None].repeat(entry["shape"][0], axis=0))
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in indices.items()}

    return run
