"""Pack a finished run into a small folder: its weights, and all that they mean.

A packed run can be evaluated, exported, predicted and started from like any other, but not resumed:
it has no optimizer's state.
"""

import json
import shutil
from pathlib import Path

from tfresnet.config.sections import RunConfig
from tfresnet.models import own_weights
from tfresnet.runs import portable
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import Run, open_run, weights_sha256
from tfresnet.runs.shipped import WEIGHTS
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import specs_to_dict
from tfresnet.system.files import write_text


def pack(run: Run, directory: Path, half: bool = False) -> Run:
    """Write the weights that a run keeps, its configuration, specs, curve and result.

    Args:
        run: trained to its end.
        directory: the new folder.
        half: whether kernels become float16, which halves the file; the numbers of the result are
            those of the weights before.

    Returns:
        The packed run. Its result has ``weights_sha256``, and no artifacts.

    Raises:
        InputError: the run is not finished, or there is something in the folder.
    """
    result = run.finished_result()
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"expected a new folder for the packed run, {directory} is not empty")
    model, step = run.model_and_step()
    own_weights.write(directory / WEIGHTS, model, run.spec.shape, step, half)
    values = portable.config(run.config.model_dump(mode="json"))
    values["data"]["data_dir"] = None  # of another machine
    packed_config = RunConfig.model_validate(values)
    write_text(directory / "config.yaml", packed_config.to_yaml())
    write_text(directory / "spec.json", json.dumps(specs_to_dict(run.spec, run.output), indent=1))
    recorded = portable.environment(run.environment)
    write_text(directory / "environment.json", json.dumps(recorded.to_dict(), indent=1))
    curve = "".join(json.dumps(record) + "\n" for record in run.records())
    write_text(directory / "metrics.jsonl", curve)
    if (run.directory / "samples").is_dir():
        shutil.copytree(run.directory / "samples", directory / "samples")
    packed = open_run(directory)
    digest = weights_sha256(packed.model())
    whole = portable.result(result, directory.name) | {
        "artifacts": [],
        "config": packed_config.model_dump(mode="json"),
        "weights_sha256": digest,
    }
    packed.write_result(RunResult.model_validate(whole))
    return packed
