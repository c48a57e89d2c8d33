"""Read the files that ``torch.save`` writes, without PyTorch; the numbers stay on disk until used.

Since PyTorch 1.6 they are zip archives: ``data.pkl`` says what there is, and each storage is a
record of its own, uncompressed. Before, they were a row of pickles with the storages behind them.
A plain pickle of tensors or NumPy arrays is read too. :mod:`.torch_pickle` reads the pickles.

Source: torch/serialization.py of PyTorch. No well-kept reader without PyTorch was found.
"""

import io
import mmap
import struct
import zipfile
from pathlib import Path
from typing import Any

from tfresnet.models.torch_pickle import Refused, Storage, Unpickler

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the format before 1.6
PICKLE, ZIP = b"\x80", b"PK\x03\x04"
OTHERS = {
    b"\x89HDF\r\n": "an HDF5 file (its ending should be .h5)",
    b"\x1f\x8b": "a gzip archive (unpack it)",
    b"<": "a page of HTML or XML, perhaps instead of a download",
    b"version https://git-lfs": "a pointer of Git LFS (fetch the file with git lfs pull)",
}
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip's record; then come its name and more


def read(path: Path) -> Any:
    """Return what a file holds: dicts, lists and numbers, with ``Tensor`` in place of tensors.

    Raises:
        Refused: there is code in it, a kind of tensor that is not read, or it is of another kind.
        Exception: of zipfile, pickle or struct, if the file is damaged.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Refused("an empty file")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = mapped[:32]
    if start.startswith(ZIP):
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, memoryview(mapped)).read()
    if mapped[257:262] == b"ustar":
        raise Refused("a tar archive (unpack it; torch.save's .pth.tar is none)")
    if not start.startswith(PICKLE):
        others = (what for sign, what in OTHERS.items() if start.startswith(sign))
        raise Refused(next(others, "a file that torch.save did not write"))
    return _read(mapped, memoryview(mapped))


def read_stream(data: Any) -> Any:
    """Return what the bytes of a file before PyTorch 1.6, or of a plain pickle, hold."""
    if not isinstance(data, bytes):
        raise Refused(f"{type(data).__name__} for a storage's bytes")
    return _read(io.BytesIO(data), memoryview(data))


def _read(stream: Any, data: memoryview) -> Any:
    storages: dict[str, Storage] = {}

    def storage(kind: str, key: str, count: int) -> Storage:
        found = storages.setdefault(key, Storage(kind, count))
        if (found.kind, found.count) != (kind, count):
            raise Refused(f"two storages called {key}")
        return found

    first = Unpickler(stream, storage, read_stream).load()
    if first != MAGIC:
        return first  # a plain pickle
    version, _, whole, keys = (Unpickler(stream, storage, read_stream).load() for _ in range(4))
    if version != 1001 or not isinstance(keys, list):
        raise Refused(f"version {version!r} of PyTorch's files (expected 1001)")
    position = stream.tell()
    for key in keys:
        if key not in storages:
            raise Refused(f"numbers of a storage {key!r} that no tensor has")
        if position + 8 > len(data):
            raise Refused("a file that was cut short")
        (count,) = struct.unpack_from("<q", data, position)
        if count != storages[key].count:
            raise Refused(f"{count} numbers in a storage of {storages[key].count}")
        position += 8
        end = position + storages[key].bytes
        if end > len(data):
            raise Refused("a file that was cut short")
        storages[key].data, position = data[position:end], end
    return whole


class _Archive:
    """The zip archive of PyTorch 1.6 and later."""

    def __init__(self, archive: zipfile.ZipFile, data: memoryview):
        self._archive, self._data = archive, data
        self._records = {record.filename: record for record in archive.infolist()}
        self._storages: dict[str, Storage] = {}

    def read(self) -> Any:
        """Return what ``data.pkl`` says that there is."""
        pickles = [name for name in self._records if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise Refused("a zip archive that torch.save did not write")
        self._folder = pickles[0].removesuffix("data.pkl")
        if any(name.startswith((f"{self._folder}code/", f"{self._folder}constants.pkl"))
               for name in self._records):  # fmt: skip
            raise Refused("a TorchScript archive (save its state_dict() with torch.save instead)")
        order = f"{self._folder}byteorder"
        self._little = order not in self._records or bytes(self._record(order)) != b"big"
        return Unpickler(io.BytesIO(self._record(pickles[0])), self._storage, read_stream).load()

    def _storage(self, kind: str, key: str, count: int) -> Storage:
        if key not in self._storages:
            name = f"{self._folder}data/{key}"
            if name not in self._records:
                raise Refused(f"a tensor in storage {key!r}, which is not in the file")
            record = self._records[name]
            storage = Storage(kind, count, None, self._little, record.CRC)
            size = record.file_size
            if size != storage.bytes:
                raise Refused(f"a storage of {count} numbers in {size} bytes")
            storage.data = self._record(name)
            self._storages[key] = storage
        found = self._storages[key]
        if (found.kind, found.count) != (kind, count):
            raise Refused(f"two storages called {key}")
        return found

    def _record(self, name: str) -> memoryview:
        """Return the bytes of an uncompressed record, without reading them yet."""
        record = self._records[name]
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise Refused("a compressed or encrypted zip archive (torch.save writes neither)")
        sign, name_length, extra = LOCAL_HEADER.unpack_from(self._data, record.header_offset)
        start = record.header_offset + LOCAL_HEADER.size + name_length + extra
        end = start + record.file_size
        if sign != ZIP or end > len(self._data) or record.file_size != record.compress_size:
            raise Refused("a damaged zip archive")
        return self._data[start:end]
