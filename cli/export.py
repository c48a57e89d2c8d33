"""``tfresnet export``."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfresnet.cli.common import (
    PATH,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
    writable_run,
)
from tfresnet.cli.export_options import export_config, export_options
from tfresnet.cli.export_report import bar, show
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import TFLITE, TFLM
from tfresnet.system.native_stderr import quiet_tensorflow

if TYPE_CHECKING:
    from tfresnet.deploy.publication import HubFolder
    from tfresnet.deploy.records import Report
    from tfresnet.deploy.signing import Signer


@click.command("export")
@click.argument("run", type=PATH)
@export_options
@click.option(
    "--hub-folder", type=PATH, help="Also write a folder for the Hugging Face hub; no upload."
)
@click.option("--license", metavar="NAME", help="Of the model in that folder: apache-2.0, say.")
@click.option(
    "--sign",
    metavar="KEY",
    help="Sign all that is written, with the private key in a PEM file or as sigstore does.",
)
@click.option(
    "--certificate",
    "certificates",
    type=PATH,
    multiple=True,
    help="Of that key, in a PEM file; then those of its issuers.",
)
@json_option
@reports_mistakes
def command(
    run: Path,
    data: dict[str, str],
    auto: bool,
    max_bytes: int | None,
    max_latency: float | None,
    board_names: tuple[str, ...],
    hub_folder: Path | None,
    license: str | None,
    sign: str | None,
    certificates: tuple[Path, ...],
    as_json: bool,
    **choices: Any,
) -> None:
    """Write model files into RUN/export/ and measure each against the checkpoint.

    Every file takes uint8 pixels, gives probabilities, and holds its labels and
    preprocessing. Without a format: TFLite and ONNX. With --features the files give the
    embedding that the head classifies, go to RUN/export/features/, and are measured with the
    checkpoint's head behind them. The exit status is 1 if a file lost more than it may; it is
    kept and named.

    \b
    Examples:
      tfresnet export runs/quickstart
      tfresnet export runs/quickstart --tflite --quantize int8 --max-drop 0.5
      tfresnet export cifar10-resnet20 --tflite
      tfresnet export runs/quickstart --tflite --qat-epochs 5
      tfresnet export runs/quickstart --auto --max-drop 0.3 --max-bytes 100000
      tfresnet export runs/quickstart --auto --board rpi-pico
      tfresnet export runs/quickstart --onnx --quantize int8 --layout nchw --batch 1
      tfresnet export runs/quickstart --tflite --hub-folder digits --license apache-2.0
      tfresnet export runs/quickstart --tflite --sign publisher.key
    """
    from tfresnet.deploy.device import boards
    from tfresnet.deploy.publication import HubFolder
    from tfresnet.deploy.signing import Signer
    from tfresnet.deploy.subject import data_section
    from tfresnet.runs import preflight, run_directory

    if (max_bytes or max_latency or board_names) and not auto:
        raise click.UsageError("--max-bytes, --max-latency, --board: expected --auto with them")
    if license and not hub_folder:
        raise click.UsageError("--license: expected --hub-folder with it")
    if certificates and not sign:
        raise click.UsageError("--certificate: expected --sign KEY with it")
    publish = HubFolder(hub_folder, license) if hub_folder else None
    signer = Signer(os.path.expanduser(sign), certificates) if sign else None
    on_boards = boards.limits(board_names)
    config = export_config(choices, auto, os.cpu_count() or 1, TFLM if on_boards else TFLITE)
    run = writable_run(run)
    opened = run_directory.open_run(run)
    opened.finished_result()
    preflight.network(opened.config.model)
    if config.slims:
        preflight.slimming(opened.config.model.arch)
    data_section(opened.config.data, data)
    limits = {"max_bytes": max_bytes, "max_latency": max_latency, **on_boards} if auto else None
    report = _export(opened, config, data, limits, publish, signer, as_json)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report, run, config.features)
        if publish:
            _show_hub_folder(publish)
        if sign:
            where = run / "export" / ("features" if config.features else "")
            click.echo(f"Signed: {shlex.join(['tfresnet', 'verify', str(where), '--key', 'PUB'])}")
    _warn(report)
    sys.exit(_status(report))


def _export(
    run: Any,
    config: ExportConfig,
    data: dict[str, Any],
    limits: dict[str, Any] | None,
    publish: "HubFolder | None",
    signer: "Signer | None",
    as_json: bool,
) -> "Report":
    quiet_tensorflow()
    from tfresnet.deploy import export as stages
    from tfresnet.deploy.budget import Budget

    with bar() as shown, stdout_to_stderr(as_json):
        task = shown.add_task("", total=None)

        def say(stage: str, done: int, total: int | None) -> None:
            shown.update(task, description=stage, completed=done, total=total)

        if limits is None:
            return stages.export(run, config, say, data, publish, signer)
        budget = Budget(config.max_drop, **limits)
        return stages.export_within(run, config, budget, say, data, publish, signer)


def _show_hub_folder(folder: "HubFolder") -> None:
    where = folder.directory
    upload = shlex.join(["hf", "upload", f"OWNER/{where.resolve().name}", str(where), "."])
    unknown = "" if folder.license else "; its card says unknown until you add --license NAME"
    click.echo(f"For the hub: {where}/{unknown}. To publish it: {upload}")


def _warn(report: "Report") -> None:
    for path in report.stale:
        click.echo(f"Older than the checkpoint: {path}; export it again or delete it", err=True)


def _status(report: "Report") -> int:
    """Say what failed; return the exit status."""
    if report.ladder is not None:
        if not report.chosen:
            closest = f"; the nearest is {report.nearest}" if report.nearest else ""
            click.echo(
                f"Failed: no file is within the budget; see what each one missed{closest}", err=True
            )
        return 0 if report.chosen else 1
    for artifact in report.failed:
        click.echo(f"Failed: {artifact.path}: {'; '.join(artifact.failures)}", err=True)
    return 1 if report.failed else 0
