"""Find and fetch the interpreters that run model files in a browser.

They come from three npm packages, fetched once by an explicit step: ``tfresnet demo --fetch``.
LiteRT.js (@litertjs/core, @litertjs/wasm-utils; Apache-2.0) runs .tflite files, onnxruntime-web
(MIT) .onnx files.
"""

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import platformdirs

from tfresnet.runtime.errors import InputError
from tfresnet.system.files import write_bytes

# Of each package: its version, its license, and which files go where.
PACKAGES: dict[str, tuple[str, str, dict[str, str]]] = {
    "@litertjs/core": (
        "2.5.3",
        "Apache-2.0",
        {
            "dist/index.js": "litert/index.js",
            "wasm/litert_wasm_internal.js": "litert/wasm/litert_wasm_internal.js",
            "wasm/litert_wasm_internal.wasm": "litert/wasm/litert_wasm_internal.wasm",
            "wasm/litert_wasm_compat_internal.js": "litert/wasm/litert_wasm_compat_internal.js",
            "wasm/litert_wasm_compat_internal.wasm": "litert/wasm/litert_wasm_compat_internal.wasm",
        },
    ),
    "@litertjs/wasm-utils": ("2.5.3", "Apache-2.0", {"dist/index.js": "wasm-utils/index.js"}),
    "onnxruntime-web": (
        "1.30.0",
        "MIT",
        {
            "dist/ort.wasm.min.mjs": "onnx/ort.wasm.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs": "onnx/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm": "onnx/ort-wasm-simd-threaded.wasm",
        },
    ),
}
NOTICE = "packages.json"


def folder() -> Path:
    """Return where the interpreters are kept."""
    return Path(platformdirs.user_cache_dir("tfresnet")) / "web"


def files() -> dict[str, Path]:
    """Return every file by its path on the page.

    Raises:
        InputError: they, or the versions that this tfresnet was tested with, are not there.
    """
    where = folder()
    notice = where / NOTICE
    if not notice.is_file() or json.loads(notice.read_text()) != _notice():
        raise InputError(
            f"expected the browser's interpreters in {where}, found none of these versions; "
            "fetch them once with tfresnet demo --fetch"
        )
    names = [name for _, _, wanted in PACKAGES.values() for name in wanted.values()]
    return {name: where / name for name in (*names, NOTICE)}


def fetch() -> Path:
    """Get the interpreters with npm, and return their folder.

    Raises:
        InputError: there is no npm, or it could not get a package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            "expected npm to fetch the browser's interpreters, found none: install Node.js"
        )
    where = folder()
    with tempfile.TemporaryDirectory() as temporary:
        for package, (version, _, wanted) in PACKAGES.items():
            command = [npm, "pack", "--silent", f"{package}@{version}"]
            done = subprocess.run(command, cwd=temporary, capture_output=True, text=True)
            if done.returncode:
                reason = " ".join((done.stderr or done.stdout).split())[:200]
                raise InputError(f"npm could not get {package} {version}: {reason}")
            with tarfile.open(Path(temporary) / done.stdout.split()[-1]) as archive:
                for member, name in wanted.items():
                    content = archive.extractfile(f"package/{member}")
                    assert content is not None
                    write_bytes(where / name, content.read())
    write_bytes(where / NOTICE, json.dumps(_notice(), indent=1).encode())
    return where


def _notice() -> dict[str, dict[str, str]]:
    return {
        package: {"version": version, "licence": licence}
        for package, (version, licence, _) in PACKAGES.items()
    }
