"""The command group. Commands are imported one by one, when they are named."""

import importlib
import sys
from typing import Any

import click

from tfresnet import __version__
from tfresnet.runtime.errors import unknown
from tfresnet.runtime.terminal import escape_unprintable, quiet_broken_pipe

COMMANDS = {
    "train": "Train a network from a preset or a YAML file.",
    "launch": "Train with several processes on this machine.",
    "preview": "Draw augmented training images.",
    "evaluate": "Measure a run or a model file on held-out images.",
    "export": "Write TFLite and ONNX files, each measured against the run.",
    "inspect": "List the operations of a .tflite file, and each layer's error.",
    "verify": "Check that an export is as it was written, and by whom.",
    "predict": "Say what is in pictures, with a model file.",
    "explain": "Draw class activation maps, mistakes and features.",
    "benchmark": "Compare latency, memory and size of model files.",
    "fit": "Tell whether a model fits a board, and how fast it is there.",
    "demo": "Run model files in the browser.",
    "info": "Describe a run, a model file or an architecture.",
    "convert-weights": "Make a run from torchvision's, timm's or Keras's weights.",
    "models": "List the architectures.",
    "presets": "List the presets.",
    "run": "Train, export, check boards and bundle, as one YAML file says.",
    "sweep": "Train many variants and seeds, and compare them in one table.",
}


class LazyGroup(click.Group):
    """A group that loads a command's module only to run it or to show its own help."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command; print bad usage in one line instead of click's four."""
        extra["standalone_mode"] = False
        escape_unprintable()
        try:
            sys.exit(super().main(*args, **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(0)
        except click.ClickException as error:
            message = " ".join(error.format_message().split())
            click.echo(f"Error: {message} (see --help)", err=True)
            sys.exit(2)
        except click.Abort:
            sys.exit(130)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments; click prints ``--help`` here."""
        with quiet_broken_pipe():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where nobody reads the output, click would exit with status 1."""
        with quiet_broken_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are used: train first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import ``tfresnet.cli.NAME`` and return its ``command``."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"tfresnet.cli.{name.replace('-', '_')}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; the error for an unknown one has the closest name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(str(unknown("command", args[0], COMMANDS)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tfresnet")
def main() -> None:
    """Train a ResNet in TensorFlow; leave with a model file that a device can run.

    \b
    Example, on data that ships with the install:
      tfresnet train
      tfresnet export runs/quickstart --tflite --onnx
      tfresnet predict runs/quickstart/export/model_int8.tflite runs/quickstart/samples/*.png
    """
