"""Weight clustering (Han et al. 2015, arXiv:1510.00149), with tfmot."""

from pathlib import Path

import numpy as np
import tf_keras as keras

from tfresnet.data.sources import Dataset
from tfresnet.deploy.compress.finetune import copied, fine_tune
from tfresnet.models.functional import functional
from tfresnet.run import Run


def cluster(
    run: Run,
    dataset: Dataset,
    count: int,
    epochs: int,
    directory: Path,
    source: keras.Model | None = None,
) -> keras.Model:
    """Return a network whose convolutions have ``count`` different weights each.

    It begins with the run's network, or with ``source``, a pruned one, whose zeros stay. Clusters
    are trained with the network. The first convolution and the classifier are left alone.
    """
    model = fine_tune(
        run, dataset, epochs, directory,
        lambda: _clustered(run, count, source),
        {"cluster": count, "pruned": source is not None},
    )  # fmt: skip
    return _stripped(model)


def _clustered(run: Run, count: int, source: keras.Model | None) -> keras.Model:
    from tensorflow_model_optimization.clustering import keras as clustering
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("stem"):
            return cluster.cluster_weights(
                layer,
                number_of_clusters=count,
                cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
                preserve_sparsity=source is not None,
            )
        return layer

    twin = copied(source) if source else functional(run.model(), run.spec.shape)
    return keras.models.clone_model(twin, clone_function=wrap)


def _stripped(model: keras.Model) -> keras.Model:
    from tensorflow_model_optimization.clustering import keras as clustering

    return copied(clustering.strip_clustering(model))


def distinct(model: keras.Model) -> int:
    """Return the most different values that a convolution's kernel has, but for the first's."""
    return max(
        len(np.unique(layer.get_weights()[0]))
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("stem")
    )
