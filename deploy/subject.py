"""Find a model to measure, and its data, without loading TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.config.loading import with_data
from tfresnet.config.sections import DataConfig
from tfresnet.data import lookup
from tfresnet.deploy import measured_data
from tfresnet.runs import preflight, run_directory, shipped
from tfresnet.runtime.decode import OUTPUTS
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import EMBEDDING, ModelMetadata, check_output_kind, read_metadata
from tfresnet.runtime.spec import InputSpec, OutputSpec


@dataclass(frozen=True)
class Subject:
    """A run, a model file or a SavedModel, with the data to measure it on.

    ``run`` is None for the last two, ``metadata`` for the first.
    """

    path: Path
    spec: InputSpec
    output: OutputSpec
    data: DataConfig
    run: run_directory.Run | None = None
    metadata: ModelMetadata | None = None


def find(path: Path, overrides: Mapping[str, Any]) -> Subject:
    """Return the model at ``path``, to be measured on its data with some keys replaced.

    Raises:
        InputError: there is no such model, it gives embeddings, its data are not
            there, or ``overrides`` name a split of data that have just one.
    """
    path = shipped.located(path)
    if not path.exists():
        raise InputError(f"expected a run directory or a model file, {path} does not exist")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        run = run_directory.open_run(path)
        preflight.network(run.config.model)
        return Subject(path, run.spec, run.output, data_section(run.config.data, overrides), run)
    metadata = read_metadata(path)
    check_output_kind(path, metadata, [kind for kind in OUTPUTS if kind != EMBEDDING])
    data = _with_splits(measured_data.of_file(path, metadata, overrides), overrides)
    return Subject(path, metadata.spec, metadata.output, data, metadata=metadata)


def data_section(
    config: DataConfig | Mapping[str, Any], overrides: Mapping[str, Any]
) -> DataConfig:
    """Return the data section to measure on, whose parts are named only where they have names."""
    return _with_splits(with_data(config, overrides), overrides)


def _with_splits(data: DataConfig, overrides: Mapping[str, Any]) -> DataConfig:
    named = lookup.has_named_parts(data)  # also says what is wrong with the place of the data
    if "eval_split" in overrides and not named:
        raise InputError(
            "--split: expected a TFDS dataset or a folder of masks or boxes, "
            f"{data.dataset} has just one held-out part"
        )
    return data
