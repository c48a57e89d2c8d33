"""Tell whether a TFLite file has the layers of a network that others measured on boards."""

from collections import Counter

from tfresnet.deploy.formats import graph

Shape = tuple[int, ...]
CONV, DENSE = "CONV_2D", "FULLY_CONNECTED"
# Of each network its layers, int8: the operation, the shapes of its kernel and of its output.
NETWORKS: dict[str, Counter[tuple[str, Shape, Shape]]] = {
    # MLPerf Tiny's image classification; ST's ResNet v1 8 and our resnet8 at 32 x 32 are the same.
    # https://github.com/mlcommons/tiny/tree/master/benchmark/training/image_classification
    "resnet8": Counter(
        {
            (CONV, (16, 3, 3, 3), (1, 32, 32, 16)): 1,
            (CONV, (16, 3, 3, 16), (1, 32, 32, 16)): 2,
            (CONV, (32, 3, 3, 16), (1, 16, 16, 32)): 1,
            (CONV, (32, 3, 3, 32), (1, 16, 16, 32)): 1,
            (CONV, (32, 1, 1, 16), (1, 16, 16, 32)): 1,
            (CONV, (64, 3, 3, 32), (1, 8, 8, 64)): 1,
            (CONV, (64, 3, 3, 64), (1, 8, 8, 64)): 1,
            (CONV, (64, 1, 1, 32), (1, 8, 8, 64)): 1,
            (DENSE, (10, 64), (1, 10)): 1,
        }
    ),
}


def recognized(content: bytes) -> str | None:
    """Return the name of the network that an int8 TFLite file has the layers of; None if unknown.

    Layers without kernels, such as additions, don't count: their time is small.
    """
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    layers: Counter[tuple[str, Shape, Shape]] = Counter()
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        if name not in graph.WITH_KERNELS:
            continue
        kernel, output = (subgraph.tensors[i] for i in (operation.inputs[1], operation.outputs[0]))
        if graph.type_name(kernel) != "INT8" or graph.type_name(output) != "INT8":
            return None
        layers[name, _shape(kernel.shape), _shape(output.shape)] += 1
    return next((name for name, known in NETWORKS.items() if known == layers), None)


def _shape(values: object) -> Shape:
    return tuple(map(int, values))  # type: ignore[call-overload]
