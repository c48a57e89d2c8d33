"""Learning-rate schedules, the optimizer, and which variables decay."""

import math
from typing import Any

import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.keras2 import keras
from tfresnet.models.network import Network
from tfresnet.runtime.errors import InputError
from tfresnet.training.muon import Muon

# Suffix of the name of a depthwise convolution that replaces a batch normalization: its kernel is
# a scale, which must not decay.
AFFINE = "_affine"


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


def linear(progress: tf.Tensor) -> tf.Tensor:
    """Fall from 1 to 0 along a line."""
    return 1 - progress


def constant_linear(progress: tf.Tensor) -> tf.Tensor:
    """Stay at 1 for the first half, then fall to 0 along a line."""
    return tf.minimum(1.0, 2 * (1 - progress))


def one_cycle(progress: tf.Tensor) -> tf.Tensor:
    """Fall from 1 to 4e-6 along half a cosine."""
    return LAST + (1 - LAST) * cosine(progress)


# The first and the last rate of one_cycle, as shares of the peak: PyTorch's 1 / div_factor, and
# that divided by its final_div_factor.
FIRST, LAST = 1 / 25, 1 / 25 / 1e4
SHAPES = {
    "cosine": cosine,
    "step": step,
    "constant": constant,
    "linear": linear,
    "constant_linear": constant_linear,
    "one_cycle": one_cycle,
}


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A warmup to ``lr``, then a shape of ``SHAPES``.

    The warmup is linear (Goyal et al. 2017, arXiv:1706.02677). ``one_cycle`` (Smith and Topin 2017,
    arXiv:1708.07120) has the learning rates of PyTorch's ``OneCycleLR`` with its defaults: from
    lr / 25 along half a cosine to lr in the last step of the warmup, and on to lr / 250,000 in the
    last step of all. The momentum is constant.

    Args:
        lr: the peak rate.
        shape: a key of ``SHAPES``, or ``one_cycle``.
        warmup_steps: steps of the warmup.
        total_steps: steps in all.
        factor: multiplies every rate; a variable may change in the course of a run.
    """

    def __init__(
        self,
        lr: float,
        shape: str,
        warmup_steps: int,
        total_steps: int,
        factor: tf.Variable | float = 1.0,
    ):
        self.lr, self.shape, self.factor = lr, shape, factor
        self.warmup_steps, self.total_steps = warmup_steps, total_steps

    def __call__(self, step_number: Any) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        now = tf.cast(step_number, tf.float32)
        start, end = self.warmup_steps, self.total_steps
        warm = (now + 1) / max(1, start)
        if self.shape == "one_cycle":
            start, end = start - 1, end - 1
            warm = FIRST + (1 - FIRST) * cosine(1 - now / max(1, start))
        progress = tf.clip_by_value((now - start) / max(1, end - start), 0.0, 1.0)
        rate = tf.where(now < start, warm, SHAPES[self.shape](progress))
        return self.factor * self.lr * rate

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "lr": self.lr,
            "shape": self.shape,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def make_schedule(
    config: TrainConfig, steps_per_epoch: int, total_steps: int, factor: tf.Variable | float = 1.0
) -> WarmupSchedule:
    """Return the configured schedule, times ``factor``; the warmup has at most half the steps."""
    warmup = min(total_steps // 2, round(config.warmup_epochs * steps_per_epoch))
    return WarmupSchedule(config.lr, config.scheduler, warmup, total_steps, factor)


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int, total_steps: int, factor: tf.Variable | float = 1.0
) -> keras.optimizers.Optimizer:
    """Return the configured optimizer on the configured schedule, times ``factor``.

    ``sgd`` has (Nesterov) momentum, and its decay in :func:`finish_gradients`; ``adamw``
    (Loshchilov and Hutter 2017, arXiv:1711.05101), ``lion`` (Chen et al. 2023, arXiv:2302.06675)
    and ``muon`` (see :mod:`.muon`) decay by themselves. With float16 the loss is scaled,
    dynamically.
    """
    rate = make_schedule(config, steps_per_epoch, total_steps, factor)
    optimizer = OPTIMIZERS[config.optimizer](config, rate)
    if config.precision == "mixed_float16":
        return keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


class SGD(keras.optimizers.SGD):
    """Keras's SGD with momentum, in one TensorFlow kernel instead of eight passes over the weights.

    The variables and the results are equal.

    Attributes:
        factors: of the learning rate, by the key of a variable; 1 for all others.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.factors: dict[str, float] = {}

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Update a variable and its momentum, in place."""
        key = self._var_key(variable)
        momentum = self.momentums[self._index_dict[key]]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=tf.cast(self.learning_rate * self.factors.get(key, 1.0), variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


def _sgd(config: TrainConfig, rate: WarmupSchedule) -> keras.optimizers.Optimizer:
    return SGD(rate, momentum=config.momentum, nesterov=config.nesterov)


def _adamw(config: TrainConfig, rate: WarmupSchedule) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)


def _lion(config: TrainConfig, rate: WarmupSchedule) -> keras.optimizers.Optimizer:
    return keras.optimizers.Lion(rate, weight_decay=config.weight_decay)


def _muon(config: TrainConfig, rate: WarmupSchedule) -> keras.optimizers.Optimizer:
    return Muon(rate, config.weight_decay, config.momentum)


OPTIMIZERS = {"sgd": _sgd, "adamw": _adamw, "lion": _lion, "muon": _muon}


def build_for(optimizer: keras.optimizers.Optimizer, variables: list[tf.Variable]) -> None:
    """Create the optimizer's slots for ``variables``; its own decay leaves out some of them."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.exclude_from_weight_decay([v for v in variables if not decays(v)])
    inner.build(variables)


def set_factors(optimizer: keras.optimizers.Optimizer, config: TrainConfig, model: Network) -> None:
    """Multiply the learning rates of some variables, as configured.

    ``backbone_lr_factor``: of all but the head's (Howard and Ruder 2018, arXiv:1801.06146, section
    3.2, with two groups of layers). ``bias_lr_factor``: of biases and the shifts of norms (Jordan
    2024, arXiv:2404.00498).

    Raises:
        InputError: an optimizer that has one rate for all.
    """
    keys = ("backbone_lr_factor", "bias_lr_factor")
    given = [key for key in keys if getattr(config, key) != 1]
    if not given:
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, SGD | Muon):
        raise InputError(
            f"train.{given[0]}: expected train.optimizer=sgd or muon with it, got "
            f"{config.optimizer}; leave one of them out"
        )
    in_backbone = {
        inner._var_key(v) for layer in model.backbone.layers for v in layer.trainable_variables
    }
    for variable in model.trainable_variables:
        key = inner._var_key(variable)
        factor = config.backbone_lr_factor if key in in_backbone else 1.0
        if is_shift(variable):
            factor *= config.bias_lr_factor
        inner.factors[key] = factor


def is_shift(variable: tf.Variable) -> bool:
    """Tell whether a variable is a bias, or the shift of a norm."""
    return variable.name.split("/")[-1].split(":")[0] in ("bias", "beta")


def decays(variable: tf.Variable) -> bool:
    """Tell whether weight decay applies: to kernels, not to biases, scales and shifts."""
    return len(variable.shape) > 1 and f"{AFFINE}/" not in variable.name


def finish_gradients(
    gradients: list[tf.Tensor], variables: list[tf.Variable], config: TrainConfig
) -> list[tf.Tensor]:
    """Clip the norm of whole-batch gradients, then add the L2 gradient of the weight decay.

    Clipping comes first: it is for outliers among the batches, not for the decay.
    """
    if config.grad_clip:
        gradients, _ = tf.clip_by_global_norm(gradients, config.grad_clip)
    if not config.weight_decay or config.optimizer != "sgd":
        return gradients
    return [
        g + config.weight_decay * v if decays(v) else g
        for g, v in zip(gradients, variables, strict=True)
    ]
