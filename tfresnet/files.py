"""Write a file whole or not at all."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write to a temporary file beside ``path``, then rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path


def write_text(path: Path, content: str) -> Path:
    """See :func:`write_bytes`."""
    return write_bytes(path, content.encode())
