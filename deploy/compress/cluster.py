"""Weight clustering (Han et al. 2015, arXiv:1510.00149), with tfmot, of the network as deployed."""

from dataclasses import dataclass

from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner, Stage, copied
from tfresnet.deploy.compress.fold import folded
from tfresnet.keras2 import keras


@dataclass(frozen=True)
class Clustering:
    """Gives each kernel of a convolution a few different weights, its centroids.

    Batch normalization is folded into the convolutions first, so that the weights that are shared
    are those of the file. The centroids are trained. The first convolution, depthwise convolutions
    and dense layers keep all their weights.

    Attributes:
        count: most different weights of a kernel, at least 2.
        epochs: of fine-tuning.
        sparse: whether the network was pruned: then one of the centroids is 0 and zeros stay.
    """

    count: int
    epochs: int
    sparse: bool = False
    name = "clustered"
    stage = "clustering"

    def check(self, network: FunctionalNetwork) -> None:
        """Accept every network."""

    def apply(self, network: FunctionalNetwork, fine_tune: FineTuner) -> FunctionalNetwork:
        """See :class:`.base.Compressor`."""
        method = {"cluster": self.count, "pruned": self.sparse}
        stage = Stage(self.stage, self.epochs, method)
        model = fine_tune(lambda: clusterable(network, self.count, self.sparse), stage)
        return network.with_model(stripped(model))


def clustered_layers(network: FunctionalNetwork) -> set[str]:
    """Return the names of the layers that are clustered."""
    convolutions = [
        layer.name for layer in network.model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    return set(convolutions[1:])


def clusterable(network: FunctionalNetwork, count: int, sparse: bool) -> keras.Model:
    """Return a folded copy of the model whose kernels have ``count`` trainable centroids.

    They begin where k-means++ puts them; with ``sparse``, one of them is 0 and stays there.
    """
    from tensorflow_model_optimization.clustering import keras as clustering
    from tensorflow_model_optimization.python.core.clustering.keras import cluster_config
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    names = clustered_layers(network)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in names or layer.count_params() <= count:
            return layer
        return cluster.cluster_weights(
            layer,
            number_of_clusters=count,
            cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=sparse,
            # Sums of the gradients of thousands of weights would be steps that no batch
            # normalization evens out any more.
            cluster_gradient_aggregation=cluster_config.GradientAggregation.AVG,
        )

    return keras.models.clone_model(folded(network.model), clone_function=wrap)


def stripped(model: keras.Model) -> keras.Model:
    """Return the network with the weights that the centroids give, without tfmot's wrappers."""
    from tensorflow_model_optimization.clustering import keras as clustering

    return copied(clustering.strip_clustering(model))
