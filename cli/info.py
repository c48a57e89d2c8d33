"""``tfresnet info``: for a model file, no TensorFlow."""

from typing import Any

import click

from tfresnet.cli.common import ExpandedPath, json_option, print_json, reports_mistakes, set_option
from tfresnet.system.native_stderr import quiet_tensorflow

# Fractions of 1 that are printed in percent.
SHARES = {
    "top1", "top1_interval", "top5", "balanced_accuracy", "ece", "checkpoint_top1", "agreement",
    "map", "map_interval", "micro_f1", "macro_f1", "exact_match", "checkpoint_map", "value",
}  # fmt: skip


@click.command("info")
@click.argument("model", type=ExpandedPath(), metavar="MODEL or ARCH")
@set_option
@json_option
@reports_mistakes
def command(model: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Describe a run, a model file or an architecture.

    \b
    Examples:
      tfresnet info runs/quickstart/export/model_int8.tflite
      tfresnet info runs/quickstart
      tfresnet info cifar10-resnet20
      tfresnet info resnet18 --set model.stem=cifar --set model.num_classes=10
    """
    facts = _facts(model, overrides)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if value not in (None, [], {}, False):
            click.echo(f"{key:<14} {_shown(value, key)}")


def _facts(model: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    from tfresnet.config import loading
    from tfresnet.deploy import describe
    from tfresnet.runs import preflight, run_directory, shipped

    path = shipped.located(model)
    is_run = path.is_dir() and not (path / "saved_model.pb").exists()
    is_architecture = not path.exists() and path.name == model and not path.suffix
    if overrides and not is_architecture:
        raise click.UsageError(
            f"--set: expected an architecture, got {model}, which can't be changed"
        )
    if not is_run and not is_architecture:
        return describe.model_file(path)
    if is_run:
        run_directory.open_run(path)
        quiet_tensorflow()
        return describe.run(path)
    if overrides:
        preflight.network(loading.from_overrides([f"model.arch={model}", *overrides]).model)
        quiet_tensorflow()
    return describe.architecture(model, overrides)


def _shown(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        # Of the data's settings only the dataset; --json has all.
        flat = {k: v.get("dataset") if isinstance(v, dict) else v for k, v in value.items()}
        return "  ".join(f"{k} {_shown(v, k)}" for k, v in flat.items() if v is not None)
    if isinstance(value, list):
        shown = ", ".join(_shown(each, key) for each in value[:12])
        return shown + (f", ... ({len(value)})" if len(value) > 12 else "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2%}" if key in SHARES else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else f"{value}"
