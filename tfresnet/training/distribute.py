"""Choose the devices of a run, as a ``tf.distribute`` strategy."""

import contextlib
import os
import textwrap
from typing import Any

import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError
from tfresnet.training import workers


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Return a MirroredStrategy over the devices that the configuration asks for.

    ``auto`` takes every GPU, else one CPU device; ``one`` takes a single device. Without GPUs,
    ``mirrored`` with ``devices: N`` splits the CPU into N logical devices, for experiments.

    ``multiworker`` takes all GPUs, or the CPU, of every process of the cluster that the environment
    names (:func:`.cluster.find`); it must be called before TensorFlow does anything else.

    ``tpu`` takes all cores of a TPU.

    Raises:
        InputError: there are fewer devices, or none of that kind, or the batch can't be divided
            evenly.
    """
    if config.strategy == "multiworker":
        return _workers(config)
    if config.strategy == "tpu":
        return _tpu(config)
    # Physical ones: to list logical ones starts TensorFlow, and then the CPU can't be split.
    gpus = tf.config.list_physical_devices("GPU")
    available = (
        tf.config.list_logical_devices("GPU")
        if gpus
        else _cpus(config.devices if config.strategy == "mirrored" else 1)
    )
    wanted = 1 if config.strategy == "one" else config.devices
    if config.strategy == "auto" and not gpus:
        wanted = 1
    if wanted and wanted > len(available):
        raise InputError(f"train.devices: expected at most {len(available)}, got {wanted}")
    devices = [device.name for device in available[:wanted]]
    check_batch(config, len(devices))
    # TensorFlow's collectives on CPUs mix up two strategies in one process; GPUs have NCCL.
    reduce = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, reduce)


def _workers(config: TrainConfig) -> tf.distribute.Strategy:
    cluster = workers.cluster()
    workers.wait(cluster)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.number,
        rpc_layer="grpc",
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    check_batch(config, strategy.num_replicas_in_sync)
    return strategy


def _tpu(config: TrainConfig) -> tf.distribute.Strategy:
    """Return a strategy for all cores of ``TPU_NAME``, or of this machine's TPU. Not tried."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(
            os.environ.get("TPU_NAME") or "local"
        )
        strategy = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = textwrap.shorten(str(error), 100, placeholder=" ...")
        raise InputError(
            f"train.strategy: expected a TPU for tpu, found none ({reason}); set TPU_NAME, or take "
            "train.strategy=auto"
        ) from None
    check_batch(config, strategy.num_replicas_in_sync)
    return strategy


def distributed(
    strategy: tf.distribute.Strategy, batches: tf.data.Dataset, batch_size: int
) -> tf.distribute.DistributedIterator:
    """Return an iterator that distributes each batch over the replicas of all workers.

    TensorFlow would give different *batches* to the workers; here each takes its part of every
    batch, so that a run sees the same batches whatever the number of workers.

    Args:
        strategy: of the devices.
        batches: tensors, or structures of them, whose first dimension is ``batch_size``.
        batch_size: of all replicas together.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        if strategy.num_replicas_in_sync == 1 and not tf.config.list_physical_devices("GPU"):
            return iter(batches)  # one device, and no copies to it in advance
        return iter(strategy.experimental_distribute_dataset(batches))
    share = batch_size // strategy.num_replicas_in_sync

    def mine(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * replicas * share

        def parts(*batch: Any) -> tuple[Any, ...]:
            return tf.nest.map_structure(
                lambda t: tf.reshape(
                    t[first : first + replicas * share], [replicas, share, *t.shape[1:]]
                ),
                batch,
            )

        return batches.map(parts, tf.data.AUTOTUNE).unbatch().prefetch(2)

    return iter(strategy.distribute_datasets_from_function(mine))


def average_statistics(strategy: tf.distribute.Strategy, *models: keras.Model | None) -> None:
    """Give each replica the mean of all replicas' moving statistics, as a checkpoint has them.

    A run that goes on from a checkpoint has the mean everywhere. One that was not stopped is to do
    the same from there on: a mean of the later statistics would be rounded differently.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    for variable in (v for model in models if model for v in model.variables):
        if variable.synchronization == tf.VariableSynchronization.ON_READ:
            variable.assign(variable.read_value())


def check_batch(config: TrainConfig, devices: int) -> None:
    """Raise an ``InputError`` unless the batch can be divided, and XLA has one device."""
    if config.batch_size % (devices * config.accumulate):
        parts = f" times {config.accumulate} (train.accumulate)" if config.accumulate > 1 else ""
        raise InputError(
            f"train.batch_size: expected a multiple of the {devices} devices{parts}, "
            f"got {config.batch_size}"
        )
    if config.sync_batch_norm and config.accumulate > 1:
        raise InputError(
            f"train.sync_batch_norm: expected train.accumulate=1 with it, got {config.accumulate}"
        )
    if config.xla and devices > 1:
        raise InputError(f"train.xla: expected one device with it, got {devices}")


def _cpus(count: int | None) -> list[tf.config.LogicalDevice]:
    """Return the logical CPUs; create ``count`` of them if TensorFlow has not started."""
    if count and count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        # If TensorFlow has started already, their number can't be changed.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
    return tf.config.list_logical_devices("CPU")
