"""Learning-rate schedules, the optimizer, and which variables decay."""

import math
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfresnet.config import TrainConfig


def cosine(progress: tf.Tensor) -> tf.Tensor:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter 2016, arXiv:1608.03983)."""
    return 0.5 * (1 + tf.cos(math.pi * progress))


def step(progress: tf.Tensor) -> tf.Tensor:
    """Fall to a tenth at 1/2 and to a hundredth at 3/4 (He et al. 2015, section 4.2)."""
    halves = tf.cast(progress >= 0.5, tf.float32) + tf.cast(progress >= 0.75, tf.float32)
    return tf.pow(0.1, halves)


def constant(progress: tf.Tensor) -> tf.Tensor:
    """Stay at 1."""
    return tf.ones_like(progress)


SHAPES = {"cosine": cosine, "step": step, "constant": constant}


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warmup to ``lr`` (Goyal et al. 2017, arXiv:1706.02677), then a shape of SHAPES."""

    def __init__(self, lr: float, shape: str, warmup_steps: int, total_steps: int):
        self.lr, self.shape = lr, shape
        self.warmup_steps, self.total_steps = warmup_steps, total_steps

    def __call__(self, step_number: Any) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        now = tf.cast(step_number, tf.float32)
        warm = (now + 1) / max(1, self.warmup_steps)
        progress = (now - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        after = SHAPES[self.shape](tf.clip_by_value(progress, 0.0, 1.0))
        return self.lr * tf.where(now < self.warmup_steps, warm, after)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "lr": self.lr,
            "shape": self.shape,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.Optimizer:
    """Return SGD with (Nesterov) momentum on the configured schedule."""
    warmup = min(total_steps, round(config.warmup_epochs * steps_per_epoch))
    return keras.optimizers.SGD(
        WarmupSchedule(config.lr, config.scheduler, warmup, total_steps),
        momentum=config.momentum,
        nesterov=config.nesterov,
    )


def decays(variable: tf.Variable) -> bool:
    """Tell whether weight decay applies: to kernels, not to biases, scales and shifts."""
    return len(variable.shape) > 1


def finish_gradients(
    gradients: list[tf.Tensor], variables: list[tf.Variable], config: TrainConfig
) -> list[tf.Tensor]:
    """Return whole-batch gradients with the norm clipped and the weight decay's L2 added.

    Clipping comes first: it is meant for a batch that is out of line, not for the decay.
    """
    if config.grad_clip:
        gradients, _ = tf.clip_by_global_norm(gradients, config.grad_clip)
    if not config.weight_decay:
        return gradients
    return [
        g + config.weight_decay * v if decays(v) else g
        for g, v in zip(gradients, variables, strict=True)
    ]
