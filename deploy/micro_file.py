"""Find the TFLite Micro file of a run, or make one in memory to see what it takes."""

from pathlib import Path

from tfresnet.config.formats import TFLM
from tfresnet.deploy.records import Report
from tfresnet.runs import shipped
from tfresnet.system.files import read_json
from tfresnet.system.native_stderr import captured, quiet_tensorflow

IMAGES = 16  # of noise, that set the ranges of activations


def exported(directory: Path) -> Path | None:
    """Return the TFLite Micro file of a run's last export, the smallest; None if it has none."""
    try:
        report = Report.model_validate(read_json(directory / "export" / "report.json"))
    except (OSError, ValueError):
        return None
    files = [a for a in report.artifacts if a.format == TFLM.name and Path(a.path).is_file()]
    return Path(min(files, key=lambda a: a.bytes).path) if files else None


def converted(directory: Path) -> bytes:
    """Convert a run's network for TFLite Micro, for its size alone.

    Noise sets the ranges of activations, so that no data are needed. Sizes don't depend on them;
    predictions do.

    Args:
        directory: of a run, or the name of a shipped network.

    Raises:
        InputError: there is no run, or TFLite Micro can't run its network.
    """
    from tfresnet.runs.run_directory import open_run

    run = open_run(shipped.located(directory))
    quiet_tensorflow()
    import numpy as np

    from tfresnet import tasks
    from tfresnet.config.export import ExportConfig
    from tfresnet.config.formats import INT8
    from tfresnet.deploy.formats import table
    from tfresnet.deploy.formats.base import Source, Target

    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, *run.spec.shape), np.uint8)
    kind = tasks.of(run.output).output_kinds[0]
    source = Source(run.model(), run.spec, run.output, noise, kind)
    config = ExportConfig(formats=(TFLM.name,), quantizations=(INT8.name,))
    with captured():
        return table.format_of(TFLM).convert(source, Target(TFLM, INT8), config).model
