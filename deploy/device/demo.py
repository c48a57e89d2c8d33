"""Serve a page on this machine where model files run in the browser, and nothing else."""

import base64
import hashlib
import json
import mimetypes
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from tfresnet.config import formats
from tfresnet.deploy.device import web_runtimes
from tfresnet.runtime.colors import palette
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import (
    BOXES,
    CLASS_MAP,
    CLASS_PROBABILITIES,
    DETECTIONS,
    POINTS_KIND,
    PROBABILITIES,
    check_output_kind,
    read_metadata,
)
from tfresnet.tasks.headings import judged_by, of_record

HOST = "127.0.0.1"
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
WEB = ("style.css", "demo.js", "answers.js", "boxes.js", "model.js", "pixels.js", "licences.txt")
# Kinds of output, as answers.js has them.
SHOWN = (PROBABILITIES, CLASS_MAP, CLASS_PROBABILITIES, BOXES, DETECTIONS, POINTS_KIND)
SAMPLES = 12
SHOWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".webp")  # pictures that every browser decodes


@dataclass(frozen=True)
class Page:
    """The content that is served at one path."""

    content: bytes | Path
    type: str

    def read(self) -> bytes:
        """Return its bytes."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


def pages(models: Sequence[Path], samples: Sequence[Path]) -> dict[str, Page]:
    """Return everything that the site serves, by its path.

    Args:
        models: .tflite or .onnx files that tfresnet exported.
        samples: pictures to choose from.

    Raises:
        InputError: a file is none of tfresnet's, or the interpreters are missing.
    """
    found = {f"/runtime/{n}": _file(path) for n, path in web_runtimes.files().items()}
    for name in WEB:
        found[f"/web/{name}"] = Page(_web(name), _type(Path(name)))
    found["/"] = Page(_web("index.html"), "text/html; charset=utf-8")
    facts = []
    for number, path in enumerate(models):
        url = f"/model/{number}{path.suffix.lower()}"
        facts.append(_facts(path, url))
        found[url] = Page(path, "application/octet-stream")
    shown = [
        {"url": f"/sample/{i}{p.suffix.lower()}", "name": p.stem} for i, p in enumerate(samples)
    ]
    for sample, path in zip(shown, samples, strict=True):
        found[sample["url"]] = _file(path)
    site = {"title": _title(models, facts[0].pop("arch")), "models": facts, "samples": shown}
    found["/site.json"] = Page(json.dumps(site).encode(), "application/json")
    return found


def _title(models: Sequence[Path], arch: str) -> str:
    """Return the page's heading: the run of the files, or their names, and the architecture."""
    runs = {run_of(path) for path in models}
    run = runs.pop() if len(runs) == 1 else None
    return f"{run.name if run else ', '.join(path.name for path in models)}: {arch}"


def run_of(model: Path) -> Path | None:
    """Return the run that a file was exported into; None if it lies elsewhere."""
    folder = model.resolve().parent
    return folder.parent if folder.name == "export" else None


def _facts(path: Path, url: str) -> dict[str, Any]:
    metadata = read_metadata(path)
    check_output_kind(path, metadata, SHOWN)
    if path.is_dir() or metadata.input_type == "integer":
        raise InputError(
            f"{path}: expected a file that takes pixels; export with --interface uint8"
        )
    row = formats.of_path(path)
    if row is None or not row.in_browser:
        able = " or ".join(row.suffix for row in formats.FORMATS.values() if row.in_browser)
        raise InputError(f"{path}: expected {able}, which browsers can run")
    return {
        "url": url,
        "name": path.name,
        "format": path.suffix.lower()[1:],
        "bytes": path.stat().st_size,
        "input": asdict(metadata.spec),
        "output": asdict(metadata.output),
        "kind": metadata.output_kind,
        "colors": [f"#{bytes(color).hex()}" for color in palette(metadata.output)],
        **_accuracy(metadata.measured),
        "arch": metadata.arch or "The model",
    }


def _accuracy(measured: dict[str, Any]) -> dict[str, Any]:
    """Return the metric in a file's metadata, with its value; None if there is none."""
    metric, value = judged_by(measured) if of_record(measured) else (None, None)
    return {"top1": measured.get("top1"), "metric": metric, "value": value}


def files_of(models: Sequence[Path]) -> list[Path]:
    """Return model files as they are; for a run, its float32 and its int8 TFLite file.

    Raises:
        InputError: a run was not exported, or there is no such file.
    """
    found: list[Path] = []
    for path in models:
        if not path.is_dir():
            found.append(path)
            continue
        exported = [path / "export" / f"model_{kind}.tflite" for kind in ("float32", "int8")]
        if not any(file.exists() for file in exported):
            raise InputError(
                f"expected a model file or a run with some, {path} has none; export it"
            )
        found += [file for file in exported if file.exists()]
    return found


def samples_of(model: Path) -> list[Path]:
    """Return the pictures that a run keeps beside its export, or that lie beside the file.

    Links that lead out of their folder are left out: a run may come from somebody else.
    """
    return _own_pictures(model.parent.parent / "samples") or _own_pictures(model.parent)


def samples_in(folder: Path) -> list[Path]:
    """Return the first pictures of a folder, or raise an ``InputError`` if it has none."""
    if found := _pictures(folder):
        return found
    raise InputError(f"--samples: expected a folder of pictures, found none in {folder}")


def _own_pictures(folder: Path) -> list[Path]:
    own = folder.resolve()
    return [path for path in _pictures(folder) if path.resolve().parent == own]


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.suffix.lower() in SHOWN_BY_BROWSERS]
    return sorted(found)[:SAMPLES]


def server(site: dict[str, Page], port: int) -> ThreadingHTTPServer:
    """Return a server of the site on the loopback address; port 0 is any free one.

    Raises:
        InputError: something else listens on the port.
    """
    handler = type("Handler", (_Handler,), {"site": site})
    try:
        return _Server((HOST, port), handler)
    except OSError as error:
        raise InputError(f"--port: expected a free one, got {port}: {error.strerror}") from None


class _Server(ThreadingHTTPServer):
    """Says nothing when a browser does not wait for its answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless the other side has hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    site: dict[str, Page]

    def do_GET(self) -> None:
        """Answer with a listed page, and to nobody but this machine's own browser."""
        _, port = self.connection.getsockname()[:2]
        # Another name would be that of a site which had itself resolved to this address.
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return self.send_error(HTTPStatus.FORBIDDEN)
        page = self.site.get(self.path.partition("?")[0])
        if page is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        content = page.read()
        self.send_response(HTTPStatus.OK)
        for header, value in (
            ("Content-Type", page.type),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", _policy(self.site["/"].read())),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: requests are no news."""


def _policy(page: bytes) -> str:
    """Return what the page may load: this server's files, and its own import map."""
    scripts = re.findall(rb"<script[^>]*>(.+?)</script>", page, re.DOTALL)
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        f"style-src 'self'; script-src 'self' 'wasm-unsafe-eval' {_hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(scripts: Iterable[bytes]) -> str:
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _web(name: str) -> bytes:
    return (resources.files("tfresnet.deploy.device") / "web" / name).read_bytes()


def _file(path: Path) -> Page:
    return Page(path, _type(path))


def _type(path: Path) -> str:
    known = TYPES.get(path.suffix.lower())
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
