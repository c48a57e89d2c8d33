"""``tfresnet train``."""

import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, stdout_to_stderr
from tfresnet.cli.configuration import configuration_options
from tfresnet.system.native_stderr import quiet_tensorflow

if TYPE_CHECKING:
    from tfresnet.runs.dry_run import DryRun
    from tfresnet.runs.request import TrainingRequest
    from tfresnet.runs.result import RunResult


@click.command("train")
@configuration_options
@click.option("--name", help="Train in runs/NAME (default: the preset's or folder's).")
@click.option("--run-dir", type=PATH, help="Train in this folder instead.")
@click.option(
    "--dry-run", is_flag=True, help="Estimate time and memory of a training; train nothing."
)
@click.option("--resume", is_flag=True, help="Continue from the newest checkpoint.")
@json_option
@reports_mistakes
def command(
    preset: str | None,
    settings: list[str],
    name: str | None,
    run_dir: Path | None,
    dry_run: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a network.

    Without an argument: the quickstart preset, on handwritten digits that ship with
    the install, about a minute. A folder of pictures, one sub-folder a class or with a
    labels.csv that gives each any number of labels, is enough, or one of images/ beside
    masks/, or one of boxes (VOC, COCO, YOLO): network, size, batches and epochs are
    chosen by what is in it, and printed.

    \b
    Examples:
      tfresnet train
      tfresnet train path/to/folder
      tfresnet train path/to/folder --pretrained --arch resnet50
      tfresnet train cifar10-resnet20 --epochs 100 --seed 1
      tfresnet train path/to/folder --arch resnet34 --set data.image_size=224 --name large
      tfresnet train --init-from runs/cifar10 --freeze-until stage2 --dataset path/to/folder
      tfresnet train --resume --run-dir runs/cifar10-resnet20
    """
    from tfresnet.runs.request import training_request

    request = training_request(preset, settings, directory_of(name, run_dir), resume)
    _check(request, dry_run)
    _print_opening(request)
    quiet_tensorflow()
    if dry_run:
        _dry_run(request, as_json)
    else:
        _train(request, as_json)


def directory_of(name: str | None, run_dir: Path | None) -> Path | None:
    """Return the run directory that was given, if any."""
    if name and run_dir:
        raise click.UsageError("expected --name or --run-dir, got both")
    if name is not None and (Path(name).name != name or name in ("", "..")):
        raise click.UsageError(f"--name: expected a folder's name in runs/, got {name!r}")
    return run_dir or (Path("runs") / name if name else None)


def _check(request: "TrainingRequest", dry_run: bool) -> None:
    """Raise an ``InputError`` for what can't be trained before TensorFlow is loaded."""
    from tfresnet.runs import preflight
    from tfresnet.runs.request import config_file

    preflight.training(request.config, request.resume, dry_run)
    if dry_run or request.multiworker:  # each worker has a directory of its own
        return
    begun = config_file(request.directory) if request.resume else None
    directory = begun.parent if begun else request.directory
    preflight.directory(request.config, directory, request.resume)


def _print_opening(request: "TrainingRequest") -> None:
    from tfresnet.data import folder_recipe
    from tfresnet.training import header, workers

    config = request.config
    if config.name in folder_recipe.PRESETS and not (request.directory / "config.yaml").exists():
        click.echo(config.description, err=True)
    if sys.stderr.isatty():  # a log gets the header as a whole, a little later
        click.echo(header.opening(config), err=True)
    if request.multiworker:
        workers.hush()


def _dry_run(request: "TrainingRequest", as_json: bool) -> None:
    from tfresnet.runs.dry_run import dry_run

    with stdout_to_stderr(as_json):
        facts = dry_run(request.config)
    if as_json:
        print_json(asdict(facts))
    else:
        _print_costs(facts)


def _train(request: "TrainingRequest", as_json: bool) -> None:
    from tfresnet.runs import train_run

    try:
        with stdout_to_stderr(as_json):
            run = train_run.train(request.config, request.directory, request.resume)
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", None)  # of the signal that it has saved for
        _print_how_to_resume(request, saved=number is not None)
        raise SystemExit(128 + (number or signal.SIGINT)) from None
    result = run.finished_result()
    if as_json:
        print_json({"run": str(run.directory), **result.to_dict()})
    else:
        _print_next_steps(run.directory, result)


def _print_how_to_resume(request: "TrainingRequest", saved: bool) -> None:
    from tfresnet.runs.request import config_file
    from tfresnet.training import workers

    if not config_file(request.directory):
        click.echo("\nStopped; nothing was trained yet.", err=True)
        return
    launcher = os.environ.get(workers.LAUNCHER)
    words = [*shlex.split(launcher or "tfresnet"), "train", "--resume"]
    again = shlex.join([*words, "--run-dir", str(request.directory)])
    said = "Stopped and saved. To go on" if saved else "Stopped. To go on from the last checkpoint"
    everywhere = ", on all workers" if request.multiworker and not launcher else ""
    click.echo(f"\n{said}{everywhere}: {again}", err=True)


def _print_costs(facts: "DryRun") -> None:
    from tfresnet.system import units

    memory, on_gpu = facts.peak_memory_mb, facts.peak_gpu_memory_mb
    click.echo(
        f"{facts.arch}: {facts.parameters:,} parameters, {facts.macs:,} multiply-adds\n"
        f"{facts.train_images:,} images to train on, {facts.held_out_images:,} held out\n"
        f"{facts.epochs} epochs, {facts.steps:,} steps, about "
        f"{facts.estimated_seconds / 60:.1f} min at {facts.images_per_second:,.0f} img/s, "
        "without the evaluations\n"
        f"{units.petaflop(facts.petaflop)} PFLOP of arithmetic, the same on any machine\n"
        f"input alone {facts.input_images_per_second:,.0f} img/s, computation alone "
        f"{facts.compute_images_per_second:,.0f} img/s: {facts.bottleneck} is the "
        "bottleneck"
        + (f"\n{memory:,} MB of memory for these steps" if memory else "")
        + (f", {on_gpu:,} MB of the GPU's" if on_gpu else "")
    )


def _print_next_steps(directory: Path, result: "RunResult") -> None:
    from tfresnet.tasks.headings import of_record

    where = shlex.quote(str(directory))
    sample = next(iter(sorted((directory / "samples").glob("*.png"))))
    headings = of_record(result.test)
    found = headings.after_training(result.test, result.epochs) if headings else ""
    click.echo(
        f"\nHeld-out {found}. Everything is in {directory}. Next:\n\n"
        f"  tfresnet evaluate {where}\n"
        f"  tfresnet export {where} --tflite --onnx\n"
        f"  tfresnet predict {where}/export/model_int8.tflite {shlex.quote(str(sample))}\n"
        f"  tfresnet benchmark {where}/export/model_float32.tflite "
        f"{where}/export/model_int8.tflite"
    )
