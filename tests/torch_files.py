"""Write files as ``torch.save`` does, byte for byte, without PyTorch.

Tests of reading them run where PyTorch is not installed; ``test_torch_parity`` compares the bytes
with PyTorch's. Source: torch/serialization.py and caffe2/serialize/inline_container.cc.
"""

import io
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage", "int64": "LongStorage", "int32": "IntStorage",
    "int8": "CharStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}  # fmt: skip
LEGACY_HEADER = (
    0x1950A86A20F9469CFC6C,
    1001,
    {"protocol_version": 1001, "little_endian": True,
     "type_sizes": {"short": 2, "int": 4, "long": 4}},
)  # fmt: skip


class Global:
    """A function or class that a pickle only names."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Look like what a pickle can call."""


class Call:
    """A call that a reader would make."""

    def __init__(self, module: str, name: str, *arguments: Any):
        self.called, self.arguments = shared_global(module, name), arguments

    def __reduce__(self) -> tuple:
        return self.called, self.arguments


GLOBALS: dict[tuple[str, str], Global] = {}


def shared_global(module: str, name: str) -> Global:
    return GLOBALS.setdefault((module, name), Global(module, name))


class Storage:
    """The numbers of a tensor; ``key`` and ``count`` may be other than they should be."""

    def __init__(self, array: np.ndarray, kind: str, key: str = "", count: int | None = None):
        self.data = np.ascontiguousarray(array).tobytes()
        self.kind, self.key = kind, key
        self.count = array.size if count is None else count


class Tensor:
    """A tensor in its own storage; ``kind`` is bfloat16 or the array's type."""

    def __init__(self, array: Any, kind: str = "", storage: Storage | None = None, **parts: Any):
        array = np.asarray(array)
        self.storage = storage or Storage(array, STORAGES[kind or array.dtype.name])
        strides = tuple(n // array.itemsize for n in np.empty(array.shape, array.dtype).strides)
        self.parts = {"offset": 0, "shape": array.shape, "strides": strides} | parts

    def __reduce__(self) -> tuple:
        rebuild = shared_global("torch._utils", "_rebuild_tensor_v2")
        p = self.parts
        return rebuild, (
            self.storage, p["offset"], p["shape"], p["strides"], False, OrderedDict(),
        )  # fmt: skip


def bfloat16(array: np.ndarray) -> Tensor:
    """Return a tensor of the upper halves of float32."""
    bits = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return Tensor(bits, "bfloat16")


def tensors(state: dict[str, np.ndarray], make: Callable[[np.ndarray], Tensor] = Tensor) -> dict:
    """Return a state dict: floats as ``make`` has them, integers as they are."""
    return OrderedDict(
        (name, make(array) if array.dtype.kind == "f" else Tensor(array))
        for name, array in state.items()
    )


class Pickler(pickle._Pickler):
    """Python's pickler, which writes names of what is not here, and storages by their keys."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def __init__(self, file: Any, legacy: bool):
        super().__init__(file, protocol=2)
        self.storages: dict[str, Storage] = {}
        self._legacy = legacy

    def save_named(self, found: Global) -> None:
        self.write(f"c{found.module}\n{found.name}\n".encode())
        self.memoize(found)

    dispatch[Global] = save_named

    def persistent_id(self, found: Any) -> tuple | None:
        if not isinstance(found, Storage):
            return None
        known = [key for key, storage in self.storages.items() if storage is found]
        key = known[0] if known else found.key or str(len(self.storages))
        self.storages[key] = found
        kind = shared_global("torch", found.kind)
        # A text is written out once; torch has one "storage" and one "cpu" for all.
        pid = ("storage", kind, key, "cpu", found.count)
        return (*pid, None) if self._legacy else pid


def pickled(value: Any, legacy: bool = False) -> tuple[bytes, dict[str, Storage]]:
    file = io.BytesIO()
    pickler = Pickler(file, legacy)
    pickler.dump(value)
    return file.getvalue(), pickler.storages


def legacy_file(value: Any, keys: list[str] | None = None) -> bytes:
    """Return the bytes of a file of PyTorch before 1.6."""
    whole, storages = pickled(value, legacy=True)
    order = sorted(storages) if keys is None else keys
    header = b"".join(pickle.dumps(part, protocol=2) for part in LEGACY_HEADER)
    numbers = b"".join(
        struct.pack("<q", storages[key].count) + storages[key].data
        for key in order
        if key in storages
    )
    return header + whole + pickle.dumps(order, protocol=2) + numbers


def zip_file(
    value: Any,
    name: str = "archive",
    serialization_id: str = "0" * 40,
    more: dict[str, bytes] | None = None,
    without: tuple[str, ...] = (),
) -> bytes:
    """Return the bytes of a file of PyTorch 1.6 or later; ``more`` adds or replaces records."""
    whole, storages = pickled(value)
    records = {"data.pkl": whole, ".format_version": b"1", ".storage_alignment": b"64",
               "byteorder": b"little"}  # fmt: skip
    records |= {f"data/{key}": storage.data for key, storage in storages.items()}
    records |= {"version": b"3\n", ".data/serialization_id": serialization_id.encode()}
    records |= more or {}
    return archive({f"{name}/{key}": data for key, data in records.items() if key not in without})


def archive(records: dict[str, bytes]) -> bytes:
    """Return a zip archive whose records begin at multiples of 64 bytes."""
    body, directory = b"", b""
    for name, data in records.items():
        encoded, offset = name.encode(), len(body)
        padding = -(offset + 30 + len(encoded) + 4) % 64
        extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        crc = zlib.crc32(data)
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0,
                            len(encoded), len(extra)) + encoded + extra  # fmt: skip
        body += data + struct.pack("<4s3I", b"PK\7\x08", crc, len(data), len(data))
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, 0x808, 0, 0, 0, crc, len(data), len(data),
            len(encoded), 0, 0, 0, 0, 0, offset,
        ) + encoded  # fmt: skip
    count = len(records)
    sizes = (count, count, len(directory), len(body))
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0x31E, 45, 0, 0, *sizes)  # zip64's
    end += struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *sizes, 0)
    return body + directory + end


def write(path: Path, value: Any, legacy: bool = False) -> Path:
    path.write_bytes(legacy_file(value) if legacy else zip_file(value, path.stem))
    return path
