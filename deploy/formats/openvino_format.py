"""Convert ONNX files to OpenVINO IR: float32, float16 and int8.

An int8 file has the scales and the weights of the int8 ONNX file, and thus its calibration images.
The 7 bits of its weights are of use here too (:mod:`.onnx_int8`): OpenVINO's kernels for x86
without VNNI add products in 16 bits, as onnxruntime's do.
"""

import gzip
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FLOAT16, FLOAT32, INT8, ONNX
from tfresnet.deploy.formats import table, wrap
from tfresnet.deploy.formats.base import Audit, Format, Source, Target
from tfresnet.runtime import openvino_ir
from tfresnet.runtime.backends import OpenVinoModel, import_openvino
from tfresnet.runtime.metadata import ModelMetadata
from tfresnet.system.files import write_bytes
from tfresnet.system.native_stderr import captured

IR = dict[str, bytes]  # the contents of both files, by their suffixes
# Layers that move or convert numbers and compute none, as OpenVINO calls them.
MOVING = frozenset({
    "Concatenation", "Const", "Convert", "FakeQuantize", "Input", "Output", "Pad", "Reorder",
    "Reshape", "Split", "Transpose",
})  # fmt: skip


class OpenVinoFormat(Format[IR]):
    """OpenVINO IR: a graph, with metadata in its ``rt_info``, and a file of weights."""

    def check_installed(self) -> None:
        """See :class:`.base.Format`."""
        import_openvino("--openvino")

    def convert(self, source: Source, target: Target, config: ExportConfig) -> IR:
        """Convert the network's ONNX file; see :class:`.base.Format`.

        The pixels are prepared by OpenVINO's own steps. Our int8 ONNX files dequantize bytes at
        once, and OpenVINO computes the convolution behind that in float.
        """
        openvino = import_openvino("--openvino")
        kind = INT8 if target.quantization is INT8 else FLOAT32
        form = ExportConfig(
            formats=(ONNX.name,), quantizations=(kind.name,), interface="float", layout="nchw",
            batch=config.batch, opset=config.opset,
        )  # fmt: skip
        onnx = table.format_of(ONNX).convert(
            source, replace(target, format=ONNX, quantization=kind), form
        )
        with captured(), tempfile.TemporaryDirectory() as folder:
            model = openvino.convert_model(io.BytesIO(onnx))
            model = _with_channels_last(model, pixels=config.interface == "uint8")
            path = Path(folder) / f"model{self.row.suffix}"
            openvino.save_model(model, path, compress_to_fp16=target.quantization is FLOAT16)
            return {file.suffix: file.read_bytes() for file in self.row.files(path)}

    def embed_metadata(self, content: IR, metadata: ModelMetadata) -> IR:
        """See :class:`.base.Format`."""
        graph, weights = content.values()
        whole = json.dumps(replace(metadata, content=openvino_ir.digest(graph, weights)).to_dict())
        described = openvino_ir.embed(graph, whole, metadata.output.labels)
        return content | {self.row.suffix: described}

    def audit(self, content: IR) -> Audit:
        """Tell which layers compute with float numbers on this machine's processor."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{self.row.suffix}"
            self.write(content, path)
            layers = OpenVinoModel(path, threads=1).layers()
        floats = [
            f"{layer.kind} at {layer.name}"
            for layer in layers
            if not (layer.integer or layer.last or layer.kind in MOVING)
        ]
        compressed = (len(gzip.compress(file, compresslevel=6)) for file in content.values())
        return Audit(float_operations=tuple(floats), gzip_bytes=sum(compressed))

    def write(self, content: IR, path: Path) -> None:
        """Write the graph to ``path`` and the weights beside it."""
        for suffix, file in content.items():
            write_bytes(path.with_suffix(suffix), file)

    def command(self, name: str) -> str:
        """See :class:`.base.Format`."""
        return f"{super().command(name)}  # pip install openvino"


def _with_channels_last(model: Any, pixels: bool) -> Any:
    """Make an NCHW model take NHWC images: uint8 ``pixels``, or floats of -1 to 127/128."""
    openvino = import_openvino("--openvino")
    steps = openvino.preprocess.PrePostProcessor(model)
    entry = steps.input()
    entry.model().set_layout(openvino.Layout("NCHW"))
    entry.tensor().set_layout(openvino.Layout("NHWC"))
    if pixels:
        entry.tensor().set_element_type(openvino.Type.u8)
        floats = entry.preprocess().convert_element_type(openvino.Type.f32)
        floats.mean(wrap.ZERO_POINT).scale(1 / wrap.SCALE)
    return steps.build()
