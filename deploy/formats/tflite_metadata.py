"""Write TFLite's standard metadata, which Android's tools and MediaPipe Tasks read.

The tables are those of metadata_schema.fbs (identifier M001), written with flatbuffers' builder: a
table is a list of fields by their number in the schema. The label file that they name is in the
zip archive behind the model, see ``tflite.Format.embed_metadata``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tfresnet.deploy.formats import graph, wrap
from tfresnet.runtime.metadata import (
    BOXES,
    CLASS_PROBABILITIES,
    DETECTIONS,
    EMBEDDING,
    PROBABILITIES,
    SCORES,
)
from tfresnet.runtime.spec import InputSpec, OutputSpec

NAME, IDENTIFIER, PARSER = "TFLITE_METADATA", b"M001", "1.0.0"
LABELS = "labels.txt"
IMAGE, NORMALIZATION = 2, 1  # members of the unions ContentProperties and ProcessUnitOptions
RGB, GRAYSCALE = 1, 2
AXIS_LABELS, VALUE_LABELS = 2, 3  # of AssociatedFileType
BOUNDING_BOX, BOUNDARIES = 3, 1  # of ContentProperties and BoundingBoxType
CORNERS = (1, 0, 3, 2)  # where left, top, right and bottom are in a box
# What MediaPipe's ImageSegmenter reads, by image_segmenter_metadata_schema.fbs (V001).
SEGMENTER, SEGMENTER_IDENTIFIER = "SEGMENTER_METADATA", b"V001"
NO_ACTIVATION = 0  # the file gives probabilities already
Write = Callable[[flatbuffers.Builder], int]


@dataclass(frozen=True)
class Field:
    """A field of a table: its number in the schema, and the function that writes it.

    ``inline`` is the builder's method for a number, which is stored in the table itself.
    """

    slot: int
    write: Write
    inline: str = ""


def describe(
    content: bytes,
    spec: InputSpec,
    output: OutputSpec,
    title: str,
    kind: str,
    centered: bool,
) -> bytes:
    """Return a TFLite file with standard metadata about its input and output.

    Args:
        title: the model's name.
        kind: what it gives, see ``runtime.metadata``.
        centered: whether it takes ``(pixel - 128) / 128`` instead of pixels.
    """
    model = graph.read(content)
    kept = [m for m in model.metadata or [] if m.name.decode() != NAME]
    builder = flatbuffers.Builder(1024)
    root = _model(spec, output, title, kind, centered)(builder)
    builder.Finish(root, IDENTIFIER)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    buffer.data = list(builder.Output())
    model.metadata = [*kept, entry]
    model.buffers.append(buffer)
    return graph.packed(model)


def _model(spec: InputSpec, output: OutputSpec, title: str, kind: str, centered: bool) -> Write:
    classes = f"{len(output.labels)} classes"
    about = f"{title}: {'embeddings' if kind == EMBEDDING else classes}"
    fields = [_list(2, [_image(spec, centered)]), _list(3, _outputs(kind))]
    if kind in CUSTOM:
        fields.append(_list(9, [_custom(*CUSTOM[kind])]))
    return _table(
        [_text(0, title), _text(1, about), Field(3, _vector([_table(fields)])), _text(7, PARSER)]
    )


def _image(spec: InputSpec, centered: bool) -> Write:
    size = _table([_number(0, "Uint32", spec.width), _number(1, "Uint32", spec.height)])
    colors = RGB if len(spec.mean) == 3 else GRAYSCALE
    properties = _table([_number(0, "Int8", colors), Field(1, size)])
    content = _table([_number(0, "Uint8", IMAGE), Field(1, properties)])
    fields = [
        _text(0, "image"),
        _text(1, f"{spec.height} x {spec.width} pixels"),
        Field(3, content),
    ]
    if centered:
        ends = [_floats(0, wrap.ZERO_POINT), _floats(1, 1 / wrap.SCALE)]
        unit = _table([_number(0, "Uint8", NORMALIZATION), Field(1, _table(ends))])
        fields.append(_list(4, [unit]))
    return _table(fields)


def _outputs(kind: str) -> list[Write]:
    if kind == EMBEDDING:
        return [_table([_text(0, kind)])]
    if kind == BOXES:
        return [_table([_text(0, BOXES)]), _table([_text(0, SCORES), _labels(AXIS_LABELS)])]
    if kind == DETECTIONS:  # under the names that MediaPipe's ObjectDetector looks for
        return [
            _table([_text(0, "location"), Field(3, _bounding_box())]),
            _table([_text(0, "category"), _labels(VALUE_LABELS)]),
            _table([_text(0, "score")]),
            _table([_text(0, "number of detections")]),
        ]
    name = "probability" if kind == PROBABILITIES else kind
    return [_table([_text(0, name), _labels(AXIS_LABELS)])]


def _labels(kind: int) -> Field:
    file = [_text(0, LABELS), _text(1, "One class a line."), _number(2, "Int8", kind)]
    return _list(6, [_table(file)])


def _bounding_box() -> Write:
    """Write a tensor's content: boxes, by their edges, in shares of the picture."""
    properties = [_integers(0, CORNERS), _number(1, "Int8", BOUNDARIES)]
    return _table([_number(0, "Uint8", BOUNDING_BOX), Field(1, _table(properties))])


def _custom(name: str, content: bytes) -> Write:
    return _table([_text(0, name), _bytes(1, content)])


def _segmenter() -> bytes:
    """Return the options of MediaPipe's ImageSegmenter."""
    builder = flatbuffers.Builder(64)
    root = _table([_number(0, "Int8", NO_ACTIVATION), _text(1, PARSER)])(builder)
    builder.Finish(root, SEGMENTER_IDENTIFIER)
    return bytes(builder.Output())


def _table(fields: list[Field]) -> Write:
    """Return a function that writes a table, after everything that it points to."""

    def write(builder: flatbuffers.Builder) -> int:
        values = [field.write(builder) for field in fields]
        builder.StartObject(1 + max(field.slot for field in fields))
        for field, value in zip(fields, values, strict=True):
            if field.inline:
                getattr(builder, f"Prepend{field.inline}Slot")(field.slot, value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(field.slot, value, 0)
        return builder.EndObject()

    return write


def _vector(tables: list[Write]) -> Write:
    def write(builder: flatbuffers.Builder) -> int:
        offsets = [table(builder) for table in tables]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    return write


def _list(slot: int, tables: list[Write]) -> Field:
    return Field(slot, _vector(tables))


def _text(slot: int, value: str) -> Field:
    return Field(slot, lambda builder: builder.CreateString(value))


def _bytes(slot: int, value: bytes) -> Field:
    def write(builder: flatbuffers.Builder) -> int:
        builder.StartVector(1, len(value), 16)  # aligned, as it is read in place
        for byte in reversed(value):
            builder.PrependByte(byte)
        return builder.EndVector()

    return Field(slot, write)


def _number(slot: int, kind: str, value: int) -> Field:
    return Field(slot, lambda builder: value, kind)


def _integers(slot: int, values: Sequence[int]) -> Field:
    def write(builder: flatbuffers.Builder) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependUint32(value)
        return builder.EndVector()

    return Field(slot, write)


def _floats(slot: int, value: float) -> Field:
    def write(builder: flatbuffers.Builder) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependFloat32(value)
        return builder.EndVector()

    return Field(slot, write)


# Of each kind of output, the name and the content of custom metadata.
CUSTOM = {CLASS_PROBABILITIES: (SEGMENTER, _segmenter())}
