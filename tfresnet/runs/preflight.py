"""Check a configuration before TensorFlow is imported, which takes longer than these checks."""

from collections.abc import Iterable
from pathlib import Path

from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig, RunConfig, TrainConfig
from tfresnet.data import lookup, task_settings
from tfresnet.models import costs, named_weights, names, options
from tfresnet.runs import hub, shipped
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.runtime.spec import MULTI_LABEL
from tfresnet.system.files import expanded, read_text
from tfresnet.tasks.headings import HEADINGS
from tfresnet.training import cluster
from tfresnet.training.patience import score_key, stale


def network(config: ModelConfig) -> None:
    """Check that the architecture exists, and has the options that are set.

    Raises:
        InputError: it does not; with the closest name, or the options that it has.
    """
    known = costs.table()
    if config.arch not in known:
        raise unknown("architecture", config.arch, known)
    options.check(config, known[config.arch]["family"])


def slimming(arch: str) -> None:
    """Raise an ``InputError`` unless channels can be removed inside an architecture's blocks."""
    options.check_slim(arch, costs.table()[arch]["family"])


def training(config: RunConfig, resume: bool = False, dry_run: bool = False) -> None:
    """Check that the architecture, the data, the workers, and the runs of a configuration exist.

    Args:
        config: of the training.
        resume: whether a run goes on, which has its classes and weights already.
        dry_run: whether nothing may be downloaded; else it is enough that TFDS knows a dataset.

    Raises:
        InputError: one does not exist, or there are several workers in a dry run.
    """
    network(config.model)
    kind, order = lookup.kind(config.data), config.data.labels
    if order and not resume:
        if kind != "folder" and not (kind == "tfds" and config.data.task == "segment"):
            raise InputError(
                f"data.labels: expected a folder of images in data.dataset, got "
                f"{config.data.dataset}, whose classes have an order of their own"
            )
        read_text(expanded(order))
    if table := lookup.table(config.data):
        _multi_label(config.train, table)
    if task := lookup.task(config.data):
        name = MULTI_LABEL if table else task_settings.TASKS[task]
        task_settings.check(config.data, name)
        task_settings.check_training(config.train, name)
    lookup.check_present(config.data, download=not dry_run)
    if config.train.strategy == "multiworker":
        if dry_run:
            raise InputError(
                "train.strategy: expected one process in a dry run, got multiworker; ask on one "
                "machine, with train.strategy=mirrored"
            )
        cluster.check()
    start, teacher = config.train.init_from, config.train.teacher
    if config.train.freeze_norms and not start:
        raise InputError(
            "train.freeze_norms: expected weights to start from, got none, whose batch "
            "normalizations would be those of random ones; add --init-from RUN, or leave it out"
        )
    # A resumed run does not need the weights that it once started from.
    if row := named_weights.named(start):
        if not (resume or dry_run):
            hub.fetch(row)
    elif start and not resume and not shipped.located(start).is_file():
        if not shipped.located(start).exists():
            raise InputError(
                "train.init_from: expected a run directory, a file of weights, or one of "
                f"{', '.join(shipped.names())}, {start} does not exist"
            )
        _check_run("train.init_from", start)
    if teacher:
        _check_run("train.teacher", teacher)


def _check_run(key: str, path: str) -> None:
    """Raise an ``InputError`` that names the key unless ``path`` is a run."""
    try:
        open_run(Path(path))
    except InputError as error:
        raise InputError(f"{key}: {error}") from None


def _multi_label(config: TrainConfig, table: Path) -> None:
    """Raise an ``InputError`` for settings that need exactly one label for each picture."""
    for key, wanted, reason in (
        ("loss", "bce", "a softmax predicts one label; add train.loss=bce"),
        ("class_weights", "none", "a picture has no class to be weighted by"),
        ("teacher", None, "distillation compares softmaxes, which predict one label"),
    ):
        got = getattr(config, key)
        if got != wanted:
            raise InputError(
                f"train.{key}: expected {wanted or 'none'} with {table}, which gives a picture any "
                f"number of labels, got {got}; {reason}"
            )


def conversion(
    file: Path, arch: str | None, out: Path, labels: Path | None, overrides: Iterable[str]
) -> None:
    """Check that a file may hold weights of an architecture, and that the new run's folder is free.

    Raises:
        InputError: no such file or architecture, a library that has no such network, a folder that
            is not empty, or a bad setting.
    """
    library = names.library(file)
    if arch is None:
        loading.from_overrides(overrides)
    else:
        network(loading.from_overrides([f"model.arch={arch}", *overrides]).model)
        names.convention(library, arch, costs.table()[arch]["family"])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"expected a new folder for the run, {out} is not empty")
    if labels:
        read_text(labels)


def directory(config: RunConfig, path: Path, resume: bool, settled: bool = False) -> None:
    """Check that a run can begin in a directory, or can be resumed there.

    A resumed run may have other data of the same classes, and another number of epochs; all other
    keys must be the same.

    Args:
        config: of the training.
        path: the run directory.
        resume: whether a run goes on.
        settled: whether the configuration is complete. Before, ``train.precision=auto``, and the
            model section with ``train.init_from``, are not compared.

    Raises:
        InputError: the path is a file, there is a run but ``resume`` is off, there is none but it
            is on, or its configuration is another.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(f"expected a run's folder with a name in UTF-8, got {path}") from None
    if path.exists() and not path.is_dir():
        raise InputError(f"expected a folder for the run, {path} is a file")
    if not (path / "config.yaml").exists():
        if resume:
            raise InputError(f"expected a run to resume in {path}, found none; drop --resume")
        return
    if not resume:
        raise InputError(
            f"{path} already holds a run; add --resume (in Python: resume=True) to go on with "
            "it, or --name NAME (run_dir) for another"
        )
    run = open_run(path)
    if run.is_packed:
        raise InputError(
            f"{path} is packed, without what resuming needs; start another run from its weights: "
            f"--name NAME --init-from {path}"
        )
    changed = loading.differences(run.config, loading.absolute(config))
    if "train.epochs" in changed:
        _epochs(run, changed.pop("train.epochs")[1])
    for key, (old, new) in changed.items():
        # A folder may have moved; its classes and sizes are compared with the run's later.
        moved = key == "data.data_dir" or (key == "data.dataset" and Path(str(new)).is_dir())
        moved |= key == "data.service" and bool(old and new)  # another address
        decided_later = new == "auto" or (key.startswith("model.") and config.train.init_from)
        if not (moved or (decided_later and not settled)):
            raise InputError(
                f"--resume keeps a run's configuration: expected {key}={old!r} as in {path}, "
                f"got {new!r}; start another run with --name NAME"
            )


def _epochs(run: Run, new: int) -> None:
    """Check that a run can be trained up to ``new`` epochs."""
    done = run.epochs_done()
    if new <= done:
        raise InputError(
            f"train.epochs: expected more than the {done} that {run.directory} is trained for, got "
            f"{new}; leave it out to go on, or start another run with --name NAME"
        )
    patience, primary = run.config.train.patience, HEADINGS[run.output.task].primary
    if stale(run.records(), score_key(run.config.data, primary), patience):
        raise InputError(
            f"train.epochs: expected a run that gets better, {run.directory} did not in {patience} "
            "evaluations (train.patience); start another with "
            f"train.init_from={run.directory}"
        )
