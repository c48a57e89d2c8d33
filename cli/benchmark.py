"""``tfresnet benchmark``; it loads no TensorFlow, unless a SavedModel is measured."""

from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    PATH,
    json_option,
    model_file,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.system.native_stderr import quiet_tensorflow


def _thread_counts(ctx: click.Context, option: click.Parameter, value: str) -> list[int]:
    counts = [int(n) for n in value.split(",") if n.strip().isdecimal() and int(n) > 0]
    if len(counts) != len(value.split(",")):
        raise click.BadParameter(f"expected positive whole numbers such as 1,2, got {value!r}")
    return counts


@click.command("benchmark")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=PATH)
@click.option(
    "--threads", default="1", show_default=True, callback=_thread_counts, help="Such as 1,2."
)
@click.option(
    "--rounds", default=10, show_default=True, type=click.IntRange(1), help="Turns of each file."
)
@click.option(
    "--profile", "by_operation", is_flag=True, help="Time in each kind of operation of each file."
)
@json_option
@reports_mistakes
def command(
    models: tuple[Path, ...], threads: list[int], rounds: int, by_operation: bool, as_json: bool
) -> None:
    """Compare .tflite, .onnx and SavedModel: latency, load time, memory and size.

    MODEL may be a run, of which the best exported file is taken, or a shipped network. The files
    take turns, so that a noisy machine is noisy for all of them. Latency is of one image. The last
    column is the speed relative to the float32 file, or to the first one; MB is what a fresh
    process grows by.

    \b
    Example:
      tfresnet benchmark runs/quickstart/export/model_*.tflite --threads 1,2
      tfresnet benchmark runs/quickstart
    """
    from tfresnet.deploy.device.benchmark import check, compare
    from tfresnet.deploy.device.profile import profile
    from tfresnet.system.environment import int8_note, processor

    models = tuple(map(model_file, models))
    check(models)
    if any(model.is_dir() for model in models):
        quiet_tensorflow()
    with stdout_to_stderr(as_json):
        records = compare(models, threads, rounds)
        files = [m for m in models if by_operation and not m.is_dir()]
        profiles = {str(file): profile(file) for file in files}
    note = int8_note() if any(record["integer"] for record in records) else None
    if as_json:
        found = {"models": records, "processor": processor(), "note": note}
        print_json(found | ({"profiles": profiles} if by_operation else {}))
        return
    click.echo(_table(records))
    if note:
        click.echo(note)
    for path, times in profiles.items():
        click.echo(f"{path}, by operation:")
        for kind, milliseconds in times.items():
            click.echo(f"  {kind:<28}{milliseconds:10.4f} ms")


def _table(records: list[dict[str, Any]]) -> str:
    """Return the measurements, a row each; narrow: of files in one folder just their names."""
    from tabulate import tabulate

    from tfresnet.runtime.terminal import printable

    folders = {printable(Path(r["path"]).parent) for r in records}
    names = [printable(Path(r["path"]).name if len(folders) == 1 else r["path"]) for r in records]
    base = next((i for i, r in enumerate(records) if "float32" in Path(r["path"]).name), 0)
    rows = [
        [
            name, r["threads"], f"{r['bytes'] / 1000:,.1f}",
            f"{r['load_ms']:.1f}", f"{r['p50_ms']:.3f}", f"{r['p95_ms']:.3f}",
            f"{r['p99_ms']:.3f}",
            "-" if r["peak_memory_mb"] is None else f"{r['peak_memory_mb']:.1f}",
            f"{records[base]['p50_ms'] / r['p50_ms']:.2f} x",
        ]
        for name, r in zip(names, records, strict=True)
    ]  # fmt: skip
    heads = ["file", "thr", "kB", "load", "p50", "p95", "p99", "MB", "speed"]
    align = ["left", *["right"] * (len(heads) - 1)]
    found = tabulate(rows, heads, "plain", disable_numparse=True, colalign=align)
    where = f"; in {folders.pop()}" if len(folders) == 1 else ""
    return f"{found}\nms of one image; speed against {names[base]}{where}"
