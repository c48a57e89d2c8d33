"""Compare a number between the workers of a run."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf


class Agreement:
    """Finds the lowest or highest of a number that every worker has.

    The calls are collective: all workers must make them at the same point of the training. With a
    single worker they return its own number.

    Attributes:
        several: whether there are other workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def lowest(self, own: int) -> int:
        """Return the lowest of the workers' numbers."""
        return int(self._all(own).min()) if self.several else own

    def highest(self, own: int) -> int:
        """Return the highest of the workers' numbers."""
        return int(self._all(own).max()) if self.several else own

    def _all(self, own: int) -> np.ndarray:
        return self._gather(tf.constant(own, tf.int64)).numpy()

    @functools.cached_property
    def _gather(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A compiled function from this process's number to those of all replicas, int64 [n]."""

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
        def gather(own: tf.Tensor) -> tf.Tensor:
            def gathered() -> tf.Tensor:
                return tf.distribute.get_replica_context().all_gather(own[None], axis=0)

            return self.strategy.experimental_local_results(self.strategy.run(gathered))[0]

        return gather
