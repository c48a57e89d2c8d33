"""OpenVINO IR as files: a graph in an .xml, its weights in a .bin beside it. Standard library only.

What tfresnet says about a model is in the graph's ``rt_info``.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import InputError

WEIGHTS = ".bin"
EMBEDDED = re.compile(
    rb'<model_info><labels value="[^"]*"/></model_info>'
    rb'<tfresnet><metadata value="([^"]*)"/></tfresnet>'
)


def embed(graph: bytes, metadata: str, labels: Iterable[str]) -> bytes:
    """Put metadata into the ``rt_info`` of a graph.

    Args:
        graph: an .xml file without metadata.
        metadata: JSON in ASCII.
        labels: of the classes, for OpenVINO's Model API, which splits them at spaces.
    """
    before, end, after = graph.rpartition(b"</rt_info>")
    words = " ".join(re.sub(r"[\s\x00-\x1f]", "_", label) for label in labels)
    added = (
        f'<model_info><labels value="{html.escape(words)}"/></model_info>'
        f'<tfresnet><metadata value="{html.escape(metadata)}"/></tfresnet>'
    )
    return before + added.encode() + end + after


def read_metadata(path: Path) -> str | None:
    """Return the metadata in an .xml file, JSON; None if it has none.

    Raises:
        InputError: the weights are not beside it.
    """
    _weights_of(path)
    found = EMBEDDED.search(path.read_bytes())
    return html.unescape(found[1].decode()) if found else None


def read(path: Path) -> tuple[bytes, bytes]:
    """Return the graph in an .xml file and its weights.

    Raises:
        InputError: the weights are not beside it.
    """
    weights = _weights_of(path)
    return path.read_bytes(), weights.read_bytes()


def digest(graph: bytes, weights: bytes) -> dict[str, Any]:
    """Return the number and the SHA-256 of a model's bytes, less those of its metadata."""
    bare = EMBEDDED.sub(b"", graph)
    found = hashlib.sha256(bare)
    found.update(weights)
    return {"bytes": len(bare) + len(weights), "sha256": found.hexdigest()}


def _weights_of(path: Path) -> Path:
    weights = path.with_suffix(WEIGHTS)
    if not weights.is_file():
        raise InputError(
            f"{path}: expected its weights beside it, got no {weights.name}; copy both"
        )
    return weights
