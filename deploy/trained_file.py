"""Make a file of a shipped network that a device can run: float32 TFLite, kept in the cache.

``predict``, ``benchmark`` and ``demo`` take it where they are given the name of a shipped network;
int8 files need training images, and are made by ``export``.
"""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import platformdirs

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FLOAT32, TFLITE
from tfresnet.runs import shipped
from tfresnet.runs.run_directory import open_run
from tfresnet.system.files import lock
from tfresnet.system.native_stderr import quiet_tensorflow
from tfresnet.tasks.headings import HEADINGS


def of_name(name: str) -> Path:
    """Return the float32 TFLite file of a shipped network; made at the first call.

    It lies where that of a run would, in ``NAME/export/`` with ``NAME/samples/`` beside it.
    """
    folder = _folder(name)
    path = folder / "export" / f"model_{FLOAT32.name}{TFLITE.suffix}"
    if not path.is_file():
        with lock(folder, "try again later"):
            samples = shipped.FOLDER / name / "samples"
            shutil.copytree(samples, folder / "samples", dirs_exist_ok=True)
            _make(name, path)  # last: what is there is whole
    return path


def _folder(name: str) -> Path:
    """Return the folder for a network in the cache; other weights have another one."""
    digest = hashlib.sha256((shipped.FOLDER / name / shipped.WEIGHTS).read_bytes()).hexdigest()
    return Path(platformdirs.user_cache_dir("tfresnet")) / "trained" / digest[:12] / name


def _make(name: str, path: Path) -> None:
    quiet_tensorflow()
    import numpy as np

    from tfresnet.deploy import context
    from tfresnet.deploy.formats import table
    from tfresnet.deploy.formats.base import Source, Target

    run = open_run(shipped.FOLDER / name)
    result, model = run.finished_result(), run.model()
    target, config = Target(TFLITE, FLOAT32), ExportConfig(formats=(TFLITE.name,))
    described = context.describe(run, result, config, run.config.data, model)
    primary = HEADINGS[run.output.task].primary
    metadata = replace(
        described,
        quantization=FLOAT32.name,
        network_sha256=described.weights_sha256,
        # A float32 file gives the network's probabilities: export's gate holds it to 1e-4.
        measured={primary: result.test[primary], "n": result.test["n"]},
    )
    no_images = np.empty((0, *run.spec.shape), np.uint8)
    source = Source(model, run.spec, run.output, no_images, described.output_kind)
    form = table.format_of(target.format)
    form.write(form.embed_metadata(form.convert(source, target, config), metadata), path)
