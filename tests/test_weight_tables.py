"""Weights of TFLite Micro's files as packed indices into tables."""

from pathlib import Path

import numpy as np
import pytest

from tests.test_compress import OUTPUT, SPEC, clustered_of
from tfresnet.config.sections import ModelConfig
from tfresnet.deploy.formats import graph, tflite, tflite_micro, weight_tables
from tfresnet.deploy.formats.weight_tables import PackedWeights, pack, unpack
from tfresnet.models import zoo
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError


@pytest.mark.parametrize("tables", [1, 6])
@pytest.mark.parametrize("values", [1, 2, 3, 16, 17, 100])
def test_unpacking_gives_the_weights_back(values, tables):
    rng = np.random.default_rng(values)
    weights = rng.choice(np.arange(-50, values - 50), size=(6, 3, 3, 7)).astype(np.int8)
    packed = pack(weights, tables)
    bits = max(1, (len(np.unique(weights)) - 1).bit_length())
    if tables == 1:
        assert len(packed.indices) == -(-weights.size * bits // 8)
    np.testing.assert_array_equal(unpack(packed, weights.shape), weights)


def test_the_bits_are_those_of_tflite_micros_documentation():
    """The example of its compression.md: 3 bits, the first index in the highest ones."""
    table = np.array([-4, -3, -2, -1, 0, 1, 2, 3], np.int8)
    packed = pack(np.concatenate([table, table[[7, 0, 3, 2]]]), 1)
    assert packed.indices[3:] == bytes([0b11100001, 0b10100000])
    # A look-up table, version 1; its version 1, one table (15) with 3 bits, 8 values.
    assert packed.tables == bytes([0, 1, 0, 0, 1, 0xF3, 8, *[0] * 9]) + table.tobytes()


def test_too_many_values_are_not_packed():
    assert pack(np.arange(-128, 128, dtype=np.int16).astype(np.int8), 1) is None


def converted(clusters: int) -> bytes:
    """A file of an untrained clustered network; without ``clusters``, a scale for each channel."""
    model, images = clustered_of({"arch": "resnet8"})
    return tflite.convert(
        model, SPEC, OUTPUT, "int8", images, "integer",
        dense_per_tensor=True, clusters=clusters, integer_softmax=True,
    )  # fmt: skip


@pytest.fixture(scope="module", params=[8, 0], ids=["a table", "a table for each channel"])
def files(request) -> tuple[bytes, bytes]:
    """A file of a clustered network, and the same with packed weights."""
    content = converted(request.param)
    packed = weight_tables.packed(content)
    assert packed is not None
    return content, packed


def test_a_packed_file_is_small_and_has_the_same_weights(files):
    content, packed = files
    # 3 of 8 bits of 77,000 weights; the others, the biases and the graph are some 10 kB.
    assert len(packed) < 0.55 * len(content)
    names = [o.name for o in graph.operations(packed)]
    convolutions = [i for i, name in enumerate(names) if name == "CONV_2D"]
    assert [names[i - 1] for i in convolutions[1:]] == [weight_tables.DECODE] * 8
    again = weight_tables.unpacked(packed)
    assert weight_tables.same_weights(content, again)
    assert [o.name for o in graph.operations(again)] == [o.name for o in graph.operations(content)]


def test_all_data_are_aligned(files):
    """The kernels read eight bytes of indices at once."""
    model = graph.schema.Model.GetRootAsModel(files[1], 0)
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if buffer.DataLength():
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            assert start % weight_tables.ALIGNMENT == 0


def test_a_changed_table_is_noticed(files, monkeypatch):
    content, packed = files

    def spoilt(weights: PackedWeights, shape: tuple[int, ...]) -> np.ndarray:
        tables = bytearray(weights.tables)
        tables[-1] ^= 1
        return unpack(PackedWeights(weights.indices, bytes(tables)), shape)

    monkeypatch.setattr(weight_tables, "unpack", spoilt)
    assert not weight_tables.same_weights(content, weight_tables.unpacked(packed))


def test_a_file_with_any_weights_is_not_packed():
    network = zoo.build(ModelConfig(arch="resnet8", width=0.5, num_classes=10), SPEC.shape)
    images = np.random.default_rng(0).integers(0, 256, (4, *SPEC.shape), np.uint8)
    content = tflite.convert(network, SPEC, OUTPUT, "int8", images, "integer")
    assert weight_tables.packed(content) is None


@pytest.mark.skipif(not tflite_micro.is_installed(), reason="needs pip install tflite-micro")
def test_tflite_micro_gives_the_same_answers(files):
    content, packed = files
    expected = tflite_micro.answers(content)
    assert expected
    assert tflite_micro.answers(packed) == expected
    assert tflite_micro.answers(packed[:1000]) == []


def test_other_interpreters_refuse_a_packed_file(tmp_path, files):
    path = tmp_path / "model.tflite"
    path.write_bytes(files[1])
    with pytest.raises(InputError, match="its weights are packed, which TFLite Micro alone"):
        open_model(path)


def test_the_folder_has_both_arrays(tmp_path: Path, files):
    from tfresnet.config.formats import TFLM
    from tfresnet.deploy.formats.microcontroller import MicrocontrollerFormat, Sources

    form = MicrocontrollerFormat(TFLM)
    content, packed = files
    both = Sources(content, {"model.h": "plain"}, Sources(packed, {"model.h": "packed"}))
    form.write(both, tmp_path / "model_int8.tflite")
    assert (tmp_path / "packed" / "model.h").read_text() == "packed"
    assert (tmp_path / "packed" / "model_int8.tflite").read_bytes() == packed
    audit = form.audit(both).packed
    assert audit.same_weights
    assert audit.same_answers is (True if tflite_micro.is_installed() else None)
    assert audit.bytes < 0.55 * audit.unpacked_bytes
    assert audit.arena_bytes >= audit.unpacked_arena_bytes
    form.write(Sources(content), tmp_path / "model_int8.tflite")  # of other weights
    assert not (tmp_path / "packed").exists()
