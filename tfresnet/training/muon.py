"""Muon: momentum whose steps for convolutions are orthogonal matrices."""

from typing import Any

import tensorflow as tf

from tfresnet.keras2 import keras

# Of the quintic iteration, by Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Root mean square of an entry of a step, by which AdamW's rates and decays fit (Liu et al. 2025,
# arXiv:2502.16982, section 2.2).
STEP_RMS = 0.2
EPSILON = 1e-7


def orthogonal(matrix: tf.Tensor) -> tf.Tensor:
    """Return roughly the nearest matrix whose rows, or else columns, are orthonormal.

    Its singular values are between about 0.7 and 1.2, which trains as well as 1.

    Args:
        matrix: float [rows, columns].
    """
    a, b, c = COEFFICIENTS
    rows, columns = matrix.shape
    x = tf.transpose(matrix) if rows > columns else matrix
    x = x / (tf.norm(x) + EPSILON)
    for _ in range(ITERATIONS):
        square = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
    return tf.transpose(x) if rows > columns else x


class Muon(keras.optimizers.AdamW):
    """Muon for the kernels of convolutions, AdamW for everything else, at one rate.

    A kernel [rows, columns, in, out] is the matrix [rows * columns * in, out]. Depthwise kernels,
    which are no such matrix, the head, and what is no kernel are AdamW's. Decay is decoupled.

    Args:
        rate: the learning rate, or its schedule.
        weight_decay: times the rate.
        momentum: of the kernels, Nesterov's.

    Attributes:
        factors: of the learning rate, by the key of a variable; 1 for all others. Decay has none.
    """

    def __init__(self, rate: Any, weight_decay: float, momentum: float):
        super().__init__(rate, weight_decay=weight_decay)
        self.momentum = momentum
        self.factors: dict[str, float] = {}

    def add_variable_from_reference(
        self, model_variable: tf.Variable, variable_name: str, *args: Any, **kwargs: Any
    ) -> tf.Variable:
        """Create a slot of a variable: Keras's, but of kernels no second moment, only a number."""
        if variable_name == "v" and _is_matrix(model_variable):
            kwargs["shape"] = ()
        return super().add_variable_from_reference(model_variable, variable_name, *args, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update a variable and its momentum, in place."""
        key = self._var_key(variable)
        factor = self.factors.get(key, 1.0)
        if not _is_matrix(variable):
            before = tf.identity(variable) if factor != 1 else None
            super().update_step(gradient, variable)
            if before is not None:
                variable.assign(before + factor * (variable - before))
            return
        mean = self._momentums[self._index_dict[key]]
        mean.assign(self.momentum * mean + gradient)
        step = orthogonal(tf.reshape(gradient + self.momentum * mean, [-1, variable.shape[-1]]))
        size = STEP_RMS * max(step.shape) ** 0.5
        rate = tf.cast(factor * self.learning_rate, variable.dtype)
        variable.assign_sub(rate * size * tf.reshape(step, variable.shape))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, and AdamW's."""
        return super().get_config() | {"momentum": self.momentum}


def _is_matrix(variable: tf.Variable) -> bool:
    return len(variable.shape) == 4 and "depthwise" not in variable.name
