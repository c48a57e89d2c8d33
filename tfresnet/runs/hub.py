"""Fetch weights by name from the Hugging Face hub or from Keras, once; then from their caches.

Only the rows of :data:`tfresnet.models.named_weights.TABLE` are fetched, as safetensors or HDF5:
arrays and their names, no code. ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``
and ``HF_TOKEN`` mean what they mean to huggingface_hub. Loads no TensorFlow.
"""

import contextlib
import functools
import json
import os
import textwrap
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tfresnet.models.named_weights import of_architecture
from tfresnet.models.weights_row import NamedWeights
from tfresnet.runs import keras_files
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import digest_of, read_json, write_text

# Seconds to wait for the hub's first answer: by default, and for weights that were asked for. Its
# library would try for half a minute.
TIMEOUT, PATIENCE = 2.0, 10.0


def cached(row: NamedWeights) -> Path | None:
    """Return the file of weights in a cache; None if it has yet to be downloaded."""
    if row.is_keras:
        return keras_files.cached(row)
    from huggingface_hub import constants

    # As huggingface_hub.try_to_load_from_cache, which takes half a second to import.
    folder = Path(constants.HF_HUB_CACHE) / f"models--{row.name.replace('/', '--')}"
    revision = row.revision or "main"
    reference = folder / "refs" / revision
    with contextlib.suppress(OSError, UnicodeDecodeError):
        revision = reference.read_text().strip()
    file = folder / "snapshots" / revision / row.file
    return file if file.is_file() else None


@dataclass(frozen=True)
class Listed:
    """Weights of an architecture as ``tfresnet models`` lists them; the JSON has these names.

    Attributes:
        name: for ``train.init_from``.
        top1: published accuracy on ImageNet, a fraction of 1.
        image_size: side of the images that it was measured on, in pixels.
        license: an SPDX identifier, in lower case.
        cached: whether the file is on this machine.
    """

    name: str
    top1: float
    image_size: int
    license: str
    cached: bool


def listed(arch: str) -> list[Listed]:
    """Return the weights for an architecture, the preferred ones first."""
    return [
        Listed(row.name, round(row.top1 / 100, 5), row.size, row.license, cached(row) is not None)
        for row in of_architecture(arch)
    ]


def available(row: NamedWeights) -> bool:
    """Return whether weights are in a cache, or their server can be asked for them."""
    return cached(row) is not None or _reachable(row, TIMEOUT)


def _reachable(row: NamedWeights, seconds: float) -> bool:
    """Return whether the server of weights answers in time; each is asked once in a process.

    With ``HF_HUB_OFFLINE`` none is asked at all.
    """
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(_server(row), seconds)


def _server(row: NamedWeights) -> str:
    return keras_files.SERVER if row.is_keras else _endpoint()


def _endpoint() -> str:
    """Return the address of the hub, or of its mirror."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


@functools.cache
def _answers(endpoint: str, timeout: float) -> bool:
    """Ask an address in a thread, as the time that a name's lookup takes has no limit."""
    found = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(endpoint, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=timeout).close()
        except urllib.error.HTTPError as error:
            if error.code >= 500:  # a proxy, say, without a way out
                return
        except (OSError, ValueError):
            return
        found.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return found.is_set()


def fetch(row: NamedWeights) -> Path:
    """Return the verified file of weights, from the cache or else downloaded into it.

    A download shows its progress, and from the hub goes on where it was when the connection breaks.
    Of a row without a digest that of the first download is remembered, in ``tfresnet-weights.json``
    in ``HF_HOME``, and another one is refused later.

    Raises:
        InputError: neither the cache nor the server has it, or it is another file than expected.
    """
    file = cached(row) or _download(row)
    _verify(row, file)
    return file


def _download(row: NamedWeights) -> Path:
    from huggingface_hub import constants

    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no answer"
    try:
        if _reachable(row, PATIENCE):
            return keras_files.download(row) if row.is_keras else _from_hub(row)
    except Exception as error:  # the library's own, and those of what it downloads with
        reason = textwrap.shorten(str(error), 160, placeholder=" ...") or type(error).__name__
    place = keras_files.folder() if row.is_keras else constants.HF_HUB_CACHE
    raise InputError(
        f"expected {row.name} in {place} or from {_server(row)}, got neither ({reason}); download "
        f"{row.file} of {row.url} elsewhere and add --init-from FILE --arch {row.arch}, or add "
        "--no-pretrained to start from nothing"
    )


def _from_hub(row: NamedWeights) -> Path:
    from huggingface_hub import constants, hf_hub_download

    return Path(
        hf_hub_download(
            row.name,
            row.file,
            revision=row.revision,
            cache_dir=constants.HF_HUB_CACHE,
            endpoint=_endpoint(),
            library_name="tfresnet",
        )
    )


def _verify(row: NamedWeights, file: Path) -> None:
    """Raise an ``InputError`` unless the file is the one that is expected."""
    if row.is_keras:
        keras_files.verify(row, file)
        return
    got = digest_of(file)
    place = _memory()
    known = _remembered(place)
    key = f"{row.name}@{row.revision or 'main'}"
    expected = row.sha256 or known.get(key)
    if expected is None:
        with contextlib.suppress(OSError):  # a cache that others look after
            write_text(place, json.dumps(known | {key: got}, indent=1) + "\n")
    elif got != expected:
        kept = "" if row.sha256 else f", or the line {key} in {place} if you trust the new ones"
        raise InputError(
            f"{row.name}: expected weights with the SHA-256 {expected:.16}..., got {got:.16}...; "
            f"they are damaged or were replaced: delete {file}{kept}"
        )


def _memory() -> Path:
    """Return the file of digests; it stays where the cache is emptied."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "tfresnet-weights.json"


def _remembered(place: Path) -> dict[str, str]:
    return read_json(place) if place.exists() else {}
