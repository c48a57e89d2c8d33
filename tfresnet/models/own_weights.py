"""Write and read the weights of a network as safetensors, under the names of its layers."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tfresnet.models import pretrained
from tfresnet.models.functional import functional
from tfresnet.models.names import OURS, variable_kind
from tfresnet.models.network import Network
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import write_bytes


def arrays(model: Network, image_shape: tuple[int, int, int]) -> pretrained.Arrays:
    """Return all variables of a model as float32 arrays, called ``LAYER/KIND``."""
    return {
        f"{layer.name}/{variable_kind(variable)}": variable.numpy()
        for layer in functional(model, image_shape).layers
        for variable in layer.variables
    }


def write(
    path: Path, model: Network, image_shape: tuple[int, int, int], step: int, half: bool
) -> None:
    """Write all variables of a model into a ``.safetensors`` file.

    Args:
        path: the file.
        model: the network.
        image_shape: (height, width, channels) of its images.
        step: the number of steps that it was trained for, which the file keeps.
        half: whether kernels become float16. What is small or sensitive stays float32: biases, and
            the statistics and scales of normalizations.
    """
    found = {
        name: values.astype(np.float16) if half and values.ndim > 1 else values
        for name, values in arrays(model, image_shape).items()
    }
    # In a fixed order, so that the same weights give the same bytes.
    content = save(dict(sorted(found.items())), {"step": str(step)})
    write_bytes(path, content)


def load(path: Path, model: Network, image_shape: tuple[int, int, int]) -> int:
    """Load a file that :func:`write` wrote into a model; return the step that it keeps.

    Raises:
        InputError: the file is damaged, or of another network.
    """
    try:
        with safe_open(path, "np") as file:
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step = int((file.metadata() or {}).get("step", 0))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected the weights of a packed run: {error}") from None
    pretrained.load(model, image_shape, values, OURS)
    return step
