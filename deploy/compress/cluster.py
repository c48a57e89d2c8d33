"""Weight clustering (Han et al. 2015, arXiv:1510.00149), with tfmot, of the network as deployed."""

from pathlib import Path

from tfresnet.backend import keras
from tfresnet.data.sources import Dataset
from tfresnet.deploy.compress.finetune import copied, fine_tune
from tfresnet.deploy.compress.fold import folded
from tfresnet.models.functional import functional
from tfresnet.runs.run_directory import Run


def cluster(
    run: Run,
    dataset: Dataset,
    count: int,
    epochs: int,
    directory: Path,
    source: keras.Model | None = None,
) -> keras.Model:
    """Return a network whose convolutions have at most ``count`` different weights each.

    It begins with the run's network, or with ``source``, a pruned one, whose zeros stay. Batch
    norms are folded first, so that the weights that are shared are those of the file. Clusters are
    trained with the network. The first convolution, depthwise ones and the classifier are left
    alone.
    """

    def start() -> keras.Model:
        return source or functional(run.model(), run.spec.shape)

    model = fine_tune(
        run, dataset, epochs, directory,
        lambda: clusterable(start(), count, source is not None),
        {"cluster": count, "pruned": source is not None}, "clustering",
    )  # fmt: skip
    return stripped(model)


def clustered_layers(model: keras.Model) -> set[str]:
    """Return the names of the layers of a functional model that are clustered."""
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return set(names[1:])


def clusterable(model: keras.Model, count: int, sparse: bool) -> keras.Model:
    """Return a folded functional model whose convolutions have ``count`` trainable centroids each.

    They begin where k-means++ puts them; with ``sparse``, one of them is 0 and stays there.
    """
    from tensorflow_model_optimization.clustering import keras as clustering
    from tensorflow_model_optimization.python.core.clustering.keras import cluster_config
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    model = folded(model)
    names = clustered_layers(model)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in names or layer.count_params() <= count:
            return layer
        return cluster.cluster_weights(
            layer,
            number_of_clusters=count,
            cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=sparse,
            # Sums over thousands of weights are steps that no batch norm evens out any more.
            cluster_gradient_aggregation=cluster_config.GradientAggregation.AVG,
        )

    return keras.models.clone_model(model, clone_function=wrap)


def stripped(model: keras.Model) -> keras.Model:
    """Return the network with the weights that the centroids give, without tfmot's wrappers."""
    from tensorflow_model_optimization.clustering import keras as clustering

    return copied(clustering.strip_clustering(model))
