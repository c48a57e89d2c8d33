"""What a person sees while a run trains: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tfresnet.training import timing

SETTLED = 5.0  # seconds after the first steps, whose time is TensorFlow's to trace them
CLOSE = 0.9  # a run that is this close to its input's rate waits for it


def tell(notes: Iterable[str]) -> None:
    """Print lines about the data on stderr."""
    console = Console(stderr=True)
    for note in notes:
        console.print(f"Note: {note}", highlight=False, markup=False, soft_wrap=True)


class TrainingDisplay:
    """Progress of a whole run on stderr; use as a context manager."""

    def __init__(self, epochs: int, steps: int, first_step: int):
        self.console = Console(stderr=True)
        self.epochs = epochs
        self.knows_bottleneck = False
        self.traced: float | None = None  # when the first steps were done
        self.bar = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("[cyan]{task.fields[rate]:>6,.0f} img/s"),
            TextColumn("{task.fields[bound]}"),
            TextColumn("loss {task.fields[loss]:.3f}  acc {task.fields[accuracy]:.1%}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task(
            "train", total=steps, completed=first_step,
            epoch=1, epochs=epochs, rate=0.0, loss=0.0, accuracy=0.0, bound="(tracing)",
        )  # fmt: skip

    def __enter__(self) -> "TrainingDisplay":
        self.started = time.perf_counter()
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def warn(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(f"Warning: {text}", highlight=False, markup=False, soft_wrap=True)

    def update(self, epoch: int, step: int, rate: float, loss: float, accuracy: float) -> None:
        """Show the state after ``step`` steps; rate is images/s, accuracy a fraction of 1."""
        if self.traced is None:
            self.traced = time.perf_counter()
            self.bar.update(self.task, bound="")
        self.bar.update(
            self.task, completed=step, epoch=epoch, rate=rate, loss=loss, accuracy=accuracy
        )

    def wants_bottleneck(self) -> bool:
        """Tell whether it is time to find out what holds the run up: once, if it takes long."""
        if self.knows_bottleneck or self.traced is None:
            return False
        return time.perf_counter() - self.traced > SETTLED

    def bottleneck(self, rate: float, input_rate: float) -> None:
        """Show what holds the run up, from its rate and that of its input alone, in images/s."""
        self.knows_bottleneck = True
        slow = timing.bottleneck(rate / CLOSE, input_rate)
        self.bar.update(self.task, bound=f"{slow}-bound")
        self.console.print(
            f"{rate:,.0f} img/s; the input alone could give {input_rate:,.0f}: {slow} is the "
            "bottleneck",
            highlight=False,
        )

    def epoch_line(self, epoch: int, record: dict[str, float]) -> None:
        """Print one line that stays, for an epoch that was evaluated."""
        line = (
            f"epoch {epoch}/{self.epochs}  loss {record['loss']:.3f}  "
            f"train {record['accuracy']:.2%}  held-out {record['held_out_top1']:.2%}  "
            f"{record['images_per_second']:,.0f} img/s  {time.perf_counter() - self.started:.0f} s"
        )
        self.console.print(line, highlight=False)
