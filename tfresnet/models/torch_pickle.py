"""Unpickle tensors and plain containers, and nothing else: the pickles in PyTorch's files.

A pickle names functions and classes that the reader calls. Here each name is looked up in a table:
the functions that rebuild a tensor have counterparts that only record it, what training scripts
keep beside weights (settings, paths, callbacks) becomes an empty placeholder, and any other name is
refused. So no code of a file is run, and neither PyTorch nor the file's own classes are imported.

Source: torch/serialization.py, torch/_utils.py and torch/_weights_only_unpickler.py of PyTorch.
"""

import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

# PyTorch's storages as NumPy's types; bfloat16 is the upper half of a float32.
BFLOAT16 = "bfloat16"
STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
# What is refused by a name of its own.
REFUSED = {
    "_rebuild_sparse_tensor": "a sparse tensor (save its to_dense())",
    "_rebuild_sparse_csr_tensor": "a sparse tensor (save its to_dense())",
    "_rebuild_qtensor": "a quantized tensor (save the float network)",
    "_rebuild_tensor_v3": "a tensor of float8 or unsigned integers",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without values, of the device meta",
    "ComplexFloatStorage": "a tensor of complex numbers",
    "ComplexDoubleStorage": "a tensor of complex numbers",
}
# What is often beside weights, by module (and all below it) or by module and name.
BESIDE = (
    "argparse.Namespace", "builtins.bytearray", "builtins.complex", "builtins.dict",
    "builtins.float", "builtins.frozenset", "builtins.int", "builtins.list", "builtins.set",
    "builtins.slice", "builtins.str", "builtins.tuple", "collections.Counter",
    "collections.defaultdict", "collections.deque", "datetime", "lightning", "lightning_fabric",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.ndarray", "omegaconf",
    "pathlib", "pytorch_lightning", "torch.device", "torch.optim.lr_scheduler",
    "torch.torch_version", "typing.Any", "yacs.config",
)  # fmt: skip


class Refused(ValueError):
    """What a file holds that is not read; the text goes on from "expected weights, got"."""


@dataclass
class Storage:
    """The numbers that one or more tensors share.

    Attributes:
        kind: a value of ``STORAGES``.
        count: how many numbers there are.
        data: their bytes; None until they are known.
        little: whether they have the lowest byte first.
        checksum: the CRC-32 of the bytes, if it is known.
    """

    kind: str
    count: int
    data: memoryview | None = None
    little: bool = True
    checksum: int | None = None

    def __setstate__(self, state: Any) -> None:
        """Refuse a pickle that changes what was recorded and checked."""
        raise Refused("a pickle that changes tensors")

    @property
    def type(self) -> np.dtype:
        """The NumPy type of a number; bfloat16's bits are an unsigned integer."""
        of_bits = "u2" if self.kind == BFLOAT16 else self.kind
        return np.dtype(of_bits).newbyteorder("<" if self.little else ">")

    @property
    def bytes(self) -> int:
        """The number of bytes that ``data`` must have."""
        return self.count * self.type.itemsize


@dataclass(frozen=True)
class Tensor:
    """A part of a storage, as PyTorch describes it: offset, shape and strides in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: Any) -> None:
        """Refuse a pickle that changes what was recorded and checked."""
        raise Refused("a pickle that changes tensors")

    def array(self) -> np.ndarray:
        """Return the numbers: a view of the file's bytes; of bfloat16, a copy in float32."""
        storage = self.storage
        if storage.data is None:
            raise Refused("a tensor whose numbers are not in the file")
        if storage.data.nbytes != storage.bytes:
            raise Refused(f"{storage.data.nbytes} bytes for {storage.bytes} of a tensor")
        if storage.checksum not in (None, zlib.crc32(storage.data)):
            raise Refused("a damaged file: the checksum of a tensor is another")
        flat = np.frombuffer(storage.data, storage.type)[self.offset :]
        strides = tuple(storage.type.itemsize * stride for stride in self.strides)
        view = np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)
        if storage.kind == BFLOAT16:
            return np.left_shift(view, 16, dtype=np.uint32).view(np.float32)
        return view


def _is_sizes(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(type(v) is int and v >= 0 for v in values)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """Record a tensor, in place of ``torch._utils._rebuild_tensor_v2``."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor without a storage")
    if not (_is_sizes([offset]) and _is_sizes(shape) and _is_sizes(strides)):
        raise Refused("a tensor whose offset, sizes or strides are no numbers from 0 on")
    if len(shape) != len(strides):
        raise Refused(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    count = 1
    for size in shape:
        count *= size
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if count > storage.count or (count and last >= storage.count):
        raise Refused(f"a tensor of {tuple(shape)} in a storage of {storage.count} numbers")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


class _Type:
    """Stands for a ``numpy.dtype``."""

    def __init__(self, code: Any, *_: Any):
        self.type = np.dtype(code) if isinstance(code, str) else None

    def __setstate__(self, state: Any) -> None:
        if self.type is not None and state[1] in ("<", ">"):
            self.type = self.type.newbyteorder(state[1])


class Array:
    """Stands for a ``numpy.ndarray`` of numbers."""

    def __init__(self, *_: Any):
        self._values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self._fill(data, kind, shape, "F" if fortran else "C")

    def _fill(self, data: Any, kind: Any, shape: Any, order: Literal["C", "F"]) -> None:
        number = kind.type if isinstance(kind, _Type) else None
        if number is None or number.kind not in "fiub" or not _is_sizes(shape):
            raise Refused("a NumPy array of something else than numbers")
        self._values = np.frombuffer(data, number).reshape(shape, order=order)

    def array(self) -> np.ndarray:
        """Return the numbers."""
        if self._values is None:
            raise Refused("a NumPy array without numbers")
        return self._values

    @classmethod
    def of_buffer(cls, data: Any, kind: Any, shape: Any, order: Any) -> "Array":
        """Stand for NumPy's ``_frombuffer``, of pickles of protocol 5."""
        made = cls()
        made._fill(data, kind, shape, "F" if order == "F" else "C")
        return made


class Mapping(dict):
    """Stands for an ``OrderedDict``, whose attributes are left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore ``_metadata`` of a state dict."""


class Beside:
    """Stands for an object of ``BESIDE``: takes what a pickle gives it, and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> "Beside":
        """Ignore what it is made of."""
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, value: Any) -> None:
        """Take an item of a list."""

    def extend(self, values: Any) -> None:
        """Take items of a list."""

    def add(self, value: Any) -> None:
        """Take an item of a set."""


class _Function:
    """A function that a pickle can call but not change (it could a Python function or class)."""

    __slots__ = ("_called",)
    _called: Callable[..., Any]

    def __init__(self, called: Callable[..., Any]):
        object.__setattr__(self, "_called", called)

    def __call__(self, *arguments: Any) -> Any:
        return self._called(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused("a pickle that changes functions")


def _bytes(text: Any, encoding: Any = "latin1") -> bytes:
    """Return the bytes that pickles of protocol 2 have as text."""
    return str(text).encode("latin1")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": Mapping,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.numeric._frombuffer": Array.of_buffer,
    "numpy._core.numeric._frombuffer": Array.of_buffer,
    "numpy.dtype": _Type,
    "_codecs.encode": _bytes,
}
_KNOWN = {name: _Function(called) for name, called in _FUNCTIONS.items()}
_TYPES = frozenset(
    f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8",
                                 "int16", "int32", "int64", "bool")
)  # fmt: skip


class Unpickler(pickle._Unpickler):
    """Reads one pickle.

    Python's implementation, as that in C makes room for as many objects as a damaged file says.

    Args:
        file: the pickle.
        storages: finds the storage of a kind, a key and a count of numbers.
        nested: reads the bytes of a file in the pickle, which a plain pickle has for each storage.
    """

    def __init__(
        self,
        file: Any,
        storages: Callable[[str, str, int], Storage],
        nested: Callable[[Any], Any],
    ):
        super().__init__(file, encoding="utf-8")
        self._storages, self._nested = storages, _Function(nested)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a function or class, or raise :class:`Refused`."""
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if full == "torch.storage._load_from_bytes":
            return self._nested
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if full in _TYPES:
            return name
        if any(full == beside or full.startswith(f"{beside}.") for beside in BESIDE):
            return Beside
        if module.split(".")[0] == "torch" and name in REFUSED:
            raise Refused(REFUSED[name])
        raise Refused(f"a call of {full} (of a whole model save the state_dict() instead)")

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that a tensor is in."""
        if not isinstance(pid, tuple) or pid[:1] == ("module",):
            raise Refused("a whole model (save its state_dict() instead)")
        if len(pid) not in (5, 6) or pid[0] != "storage" or (len(pid) == 6 and pid[5] is not None):
            raise Refused("a tensor in a part of a storage, or none")
        _, kind, key, _, count = pid[:5]
        if kind not in STORAGES.values() or not _is_sizes([count]):
            raise Refused(f"a storage of {kind!r} and {count!r} numbers")
        return self._storages(kind, str(key), count)
