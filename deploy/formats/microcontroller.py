"""Convert Keras models for TFLite Micro: a C array, its operations, and the memory it needs.

Where the kernels have few different weights, as clustered ones do, there is a second array with
packed weights, see ``weight_tables``.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import PACKED, TFLITE
from tfresnet.deploy.formats import graph, tflite, tflite_micro, weight_tables, wrap
from tfresnet.deploy.formats.arena import arena_bytes, scratch_bytes
from tfresnet.deploy.formats.base import Audit, Format, PackedModel, Source, Target
from tfresnet.deploy.formats.micro_operations import METHODS
from tfresnet.runtime.colors import palette
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import (
    BOXES,
    CLASS_MAP,
    CLASS_PROBABILITIES,
    POINTS_KIND,
    ModelMetadata,
)
from tfresnet.system.files import write_bytes, write_text

HEADER = """\
// {title}: {bytes:,} bytes. Written by tfresnet; see the .tflite beside it.
#ifndef TFRESNET_MODEL_H_
#define TFRESNET_MODEL_H_

#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

extern const unsigned char g_model[];
extern const size_t g_model_size;

// An estimate, with what Arm's kernels, CMSIS-NN, add; those of others may need more. When it runs,
// MicroInterpreter::arena_used_bytes() tells.
constexpr size_t kTensorArenaSize = {arena};

constexpr int kInputHeight = {height}, kInputWidth = {width}, kInputChannels = {channels};
constexpr int kClasses = {classes};
constexpr const char* kLabels[kClasses] = {{{labels}}};
{output}
// Only the operations that the model needs: the others stay out of the firmware.
using ModelResolver = tflite::MicroMutableOpResolver<{count}>;

inline TfLiteStatus RegisterOperations(ModelResolver& resolver) {{
{calls}
  return kTfLiteOk;
}}

#endif  // TFRESNET_MODEL_H_
"""
# What the header says of the output, by its kind.
OUTPUT = {
    CLASS_MAP: """
// The bytes of the output, as uint8_t [kOutputHeight][kOutputWidth], are indices in kLabels.
constexpr int kOutputHeight = {height}, kOutputWidth = {width};
// To draw each class in, 0xRRGGBB.
constexpr uint32_t kColors[kClasses] = {{{colors}}};
""",
    CLASS_PROBABILITIES: """
// The output, [kOutputHeight][kOutputWidth][kClasses], is the probability of each class.
constexpr int kOutputHeight = {height}, kOutputWidth = {width};
// To draw each class in, 0xRRGGBB.
constexpr uint32_t kColors[kClasses] = {{{colors}}};
""",
    BOXES: """
// The outputs are boxes, [kPlaces][4], x1, y1, x2, y2 in shares of the picture, and the scores of
// each class in them, [kPlaces][kClasses]; boxes.h chooses the detections among them.
constexpr int kPlaces = {places};
// To draw each class in, 0xRRGGBB.
constexpr uint32_t kColors[kClasses] = {{{colors}}};
""",
    POINTS_KIND: """
// The first output, [kPlaces][2], is the center in each cell: x and y in shares of the picture. The
// second, [kPlaces][kClasses], is the score of each class there, 0 where a neighbor is better.
constexpr int kPlaces = {places};
// To draw each class in, 0xRRGGBB.
constexpr uint32_t kColors[kClasses] = {{{colors}}};
""",
}
SOURCE = """\
#include "model.h"

alignas(16) const unsigned char g_model[] = {{
{values}
}};
const size_t g_model_size = sizeof(g_model);
"""


@dataclass(frozen=True)
class Sources:
    """A TFLite file with what goes beside it.

    Attributes:
        model: the file.
        beside: texts of files, by their names.
        packed: the same with packed weights; None if that is not smaller.
    """

    model: bytes
    beside: Mapping[str, str] = field(default_factory=dict)
    packed: "Sources | None" = None


class MicrocontrollerFormat(Format[Sources]):
    """TFLite Micro: a folder with an int8 TFLite file and the same model as a C array."""

    def convert(self, source: Source, target: Target, config: ExportConfig) -> Sources:
        """See :class:`.base.Format`.

        Raises:
            InputError: see :func:`check`.
        """
        clusters = 0 if wrap.has_fake_quantization(source.model) else target.compression.clusters
        content = tflite.converted(
            source, target.quantization, config.interface,
            dense_per_tensor=True, clusters=clusters, integer_softmax=True,
        )  # fmt: skip
        content = with_signed_casts(content)
        check(content)
        packed = weight_tables.packed(content)
        return Sources(content, packed=Sources(packed) if packed else None)

    def embed_metadata(self, content: Sources, metadata: ModelMetadata) -> Sources:
        """See :class:`.base.Format`; the array goes without metadata, to save flash."""
        texts = sources(content.model, metadata)
        packed = content.packed and self.embed_metadata(content.packed, metadata)
        return Sources(self._tflite.embed_metadata(content.model, metadata), texts, packed)

    def write(self, content: Sources, path: Path) -> None:
        """See :class:`.base.Format`."""
        write_bytes(path, content.model)
        for name, text in content.beside.items():
            write_text(path.with_name(name), text)
        folder = path.parent / PACKED
        if content.packed:
            self.write(content.packed, folder / path.name)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier export

    def audit(self, content: Sources) -> Audit:
        """See :class:`.base.Format`."""
        audit = self._tflite.audit(content.model)
        return replace(audit, packed=_compared(content) if content.packed else None)

    def command(self, name: str) -> str:
        """See :class:`.base.Format`."""
        return '#include "model.h"  // beside model.cc, with TFLite Micro'

    @property
    def _tflite(self) -> tflite.TfliteFormat:
        return tflite.TfliteFormat(TFLITE)


def _compared(content: Sources) -> PackedModel:
    """Return what packing the weights of a model changes."""
    assert content.packed
    plain, packed = content.model, content.packed.model
    expected = tflite_micro.answers(plain)
    return PackedModel(
        bytes=len(packed),
        unpacked_bytes=len(plain),
        arena_bytes=arena_bytes(packed),
        unpacked_arena_bytes=arena_bytes(plain),
        same_weights=weight_tables.same_weights(plain, weight_tables.unpacked(packed)),
        same_answers=tflite_micro.answers(packed) == expected if expected else None,
    )


def with_signed_casts(content: bytes) -> bytes:
    """Return a TFLite file that casts to int8 instead of uint8, which TFLite Micro does not.

    The bytes of a class map are the same.
    """
    model = graph.read(content)
    kinds = graph.schema.TensorType
    (subgraph,) = model.subgraphs
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        tensor = subgraph.tensors[operation.outputs[0]]
        if name == "CAST" and tensor.type == kinds.UINT8:
            tensor.type = kinds.INT8
            if operation.builtinOptions:
                operation.builtinOptions.outDataType = kinds.INT8
    return graph.packed(model)


def check(content: bytes) -> None:
    """Raise an ``InputError`` if a TFLite file has operations that TFLite Micro can't run.

    Those that it lacks, and those that compute with float numbers.
    """
    unknown = sorted(set(operations(content)) - METHODS.keys())
    if unknown:
        raise InputError(f"TFLite Micro: expected only operations that it has, got {unknown}")
    computing = [o for o in graph.float_operations(content) if not o.startswith(graph.CONVERSIONS)]
    if computing:
        raise InputError(f"TFLite Micro: expected integer operations, got {computing[0]}")


def operations(content: bytes) -> list[str]:
    """Return the kinds of operations of a file, sorted."""
    return sorted({o.name for o in graph.operations(content)})


def sources(content: bytes, metadata: ModelMetadata) -> dict[str, str]:
    """Return the texts of the files for a firmware, by their names.

    They are a C++ header and a source file with the model as an array, and, for a detector,
    ``boxes.h``, which chooses among its boxes.
    """
    names, spec, output = operations(content), metadata.spec, metadata.output
    calls = "\n".join(f"  TF_LITE_ENSURE_STATUS(resolver.{METHODS[name]}());" for name in names)
    quoted = (label.replace("\\", "\\\\").replace('"', '\\"') for label in output.labels)
    colors = ", ".join(f"0x{bytes(color).hex()}" for color in palette(output))
    arena = arena_bytes(content) + scratch_bytes(graph.read(content))
    header = HEADER.format(
        title=metadata.arch, bytes=len(content), arena=arena, height=spec.height, width=spec.width,
        channels=spec.shape[2], classes=len(output.labels),
        labels=", ".join(f'"{label}"' for label in quoted), count=len(names), calls=calls,
        output=OUTPUT.get(metadata.output_kind, "").format(
            height=spec.height, width=spec.width, places=_places(content), colors=colors
        ),
    )  # fmt: skip
    rows = [content[i : i + 16] for i in range(0, len(content), 16)]
    values = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    found = {"model.h": header, "model.cc": SOURCE.format(values=values)}
    if metadata.output_kind == BOXES:
        native = resources.files("tfresnet.deploy.device") / "native"
        found["boxes.h"] = (native / "boxes.h").read_text(encoding="utf-8")
    return found


def _places(content: bytes) -> int:
    """Return in how many places a detector looks: the length of its first output's second axis."""
    (subgraph,) = graph.read(content).subgraphs
    shape = subgraph.tensors[subgraph.outputs[0]].shape
    return int(shape[1])
