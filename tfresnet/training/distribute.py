"""The devices that a run uses, as a ``tf.distribute`` strategy."""

import contextlib

import tensorflow as tf

from tfresnet.config import TrainConfig
from tfresnet.errors import UserError


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Return a MirroredStrategy over the devices that the configuration asks for.

    ``auto`` takes every GPU, else one CPU device; ``one`` takes a single device. Without GPUs,
    ``mirrored`` with ``devices: N`` splits the CPU into N logical devices, which is of use for
    trying things out.

    Raises:
        UserError: there are not as many devices, or the batch can't be shared out evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    available = gpus or _cpus(config.devices if config.strategy == "mirrored" else 1)
    wanted = 1 if config.strategy == "one" else config.devices
    if config.strategy == "auto" and not gpus:
        wanted = 1
    if wanted and wanted > len(available):
        raise UserError(f"train.devices: expected at most {len(available)}, got {wanted}")
    devices = [device.name for device in available[:wanted]]
    check_batch(config, len(devices))
    # TensorFlow's collectives on CPUs mix up two strategies in one process; GPUs have NCCL.
    reduce = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, reduce)


def check_batch(config: TrainConfig, devices: int) -> None:
    """Raise a ``UserError`` unless the batch can be shared out, and XLA has one device."""
    if config.batch_size % (devices * config.accumulate):
        parts = f" times {config.accumulate} (train.accumulate)" if config.accumulate > 1 else ""
        raise UserError(
            f"train.batch_size: expected a multiple of the {devices} devices{parts}, "
            f"got {config.batch_size}"
        )
    if config.xla and devices > 1:
        raise UserError(f"train.xla: expected one device with it, got {devices}")


def _cpus(count: int | None) -> list[tf.config.LogicalDevice]:
    """Return the logical CPUs, after making ``count`` of them if TensorFlow has not started."""
    if count and count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        # If TensorFlow has already started, there is what there is.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
    return tf.config.list_logical_devices("CPU")
