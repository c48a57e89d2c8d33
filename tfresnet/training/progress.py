"""Show the progress of training: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from tfresnet.runtime.spec import CLASSIFICATION
from tfresnet.tasks.headings import HEADINGS, Headings
from tfresnet.training import timing

SETTLED = 5.0  # seconds of steps before rates are compared; the first steps include tracing
CLOSE = 0.9  # a run at this share of its input's rate is limited by it
SPARE = 3  # columns right of the bar, so that a terminal's ^C does not begin a new line
BAR = 10  # columns that the bar has at least


def show(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    console = Console(stderr=True)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def tell(notes: Iterable[str]) -> None:
    """Print lines about the data on stderr."""
    show(f"Note: {note}" for note in notes)


class TrainingDisplay:
    """Shows the progress of a run on stderr; a context manager.

    Args:
        epochs: of the whole run.
        steps: of the whole run.
        first_step: steps that are done already.
        stage: a word, such as ``pruning``, that stands before each epoch.
        console: where to print; by default stderr.
        headings: what the numbers of the task are called.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        first_step: int,
        stage: str = "",
        console: Console | None = None,
        headings: Headings = HEADINGS[CLASSIFICATION],
    ):
        self.console = console or Console(stderr=True)
        self.headings = headings
        self.epochs, self.first_step = epochs, first_step
        self.first_epoch = first_step * epochs // max(1, steps) + 1
        self.prefix = f"{stage}: " if stage else ""
        self.bound = ""
        self.knows_bottleneck = False
        self.traced: float | None = None  # when the first steps were done
        self.bar = _bar(self.console)
        now = self._epoch(min(self.first_epoch, epochs))
        self.state = self._fitting(now, ["compiling the training step"])
        self.task: TaskID = self.bar.add_task(
            now, total=steps, completed=first_step, state=self.state
        )

    def __enter__(self) -> "TrainingDisplay":
        self.started = time.perf_counter()
        if self.first_step and self.first_epoch <= self.epochs:
            self._say(f"{self._epoch(self.first_epoch)}  going on after step {self.first_step:,}")
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._say(f"Warning: {text}")

    def update(self, epoch: int, step: int, rate: float, loss: float, accuracy: float) -> None:
        """Show the state after ``step`` steps; the rate in images/s, accuracy a fraction of 1."""
        self.traced = self.traced or time.perf_counter()
        now = self._epoch(epoch)
        parts = [
            f"loss {loss:.3f}  {self.headings.fit_heading} {accuracy:.1%}",
            f"{rate:,.0f} img/s",
            self.bound,
        ]
        self.bar.update(self.task, completed=step, description=now, state=self._fitting(now, parts))

    def evaluating(self) -> None:
        """Show that the network is evaluated."""
        self.bar.update(self.task, state="evaluating".ljust(len(self.state)))

    def wants_bottleneck(self) -> bool:
        """Return whether to measure the bottleneck now: once, some seconds after the start."""
        if self.knows_bottleneck or self.traced is None:
            return False
        return time.perf_counter() - self.traced > SETTLED

    def bottleneck(self, rate: float, input_rate: float) -> None:
        """Show the bottleneck, from the rates of the run and of its input alone, in images/s."""
        self.knows_bottleneck = True
        slow = timing.bottleneck(rate / CLOSE, input_rate)
        self.bound = f"{slow}-bound"
        self._say(
            f"{rate:,.0f} img/s; the input alone could give {input_rate:,.0f}: {slow} is the "
            "bottleneck"
        )

    def epoch_line(self, epoch: int, record: dict[str, float]) -> None:
        """Print the line of an epoch that was evaluated."""
        numbers = self.headings.epoch.format(**record)
        start = f"{self._epoch(epoch)}  loss {record['loss']:.3f}  {numbers}"
        rate, seconds = record["images_per_second"], time.perf_counter() - self.started
        whole = f"{start}  {rate:,.0f} img/s  {seconds:.0f} s"
        narrow = self.console.is_terminal and len(whole) > self.console.width
        self._say(f"{start}  {seconds:.0f} s" if narrow else whole)

    def _epoch(self, epoch: int) -> str:
        return f"{self.prefix}epoch {epoch}/{self.epochs}"

    def _fitting(self, before: str, parts: Sequence[str]) -> str:
        """Join as many of the parts as fit to the right of the ETA."""
        room = self.console.width - SPARE - len(f"{before} 100% ETA 0:00:00 ") - BAR - 1
        text = ""
        for part in filter(None, parts):
            longer = f"{text}  {part}".strip()
            text = longer if len(longer) <= room else text
        return text

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Narrower:
    """Renders something with some columns left free at the right."""

    def __init__(self, inner: RenderableType):
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it."""
        yield from console.render(
            self.inner, options.update_width(max(1, options.max_width - SPARE))
        )


class _Bar(Progress):
    def get_renderable(self) -> RenderableType:
        """Return the live display."""
        return _Narrower(super().get_renderable())


def _bar(console: Console) -> Progress:
    """Build the live row; a narrow terminal cuts off its columns from the right."""
    return _Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("ETA"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("[cyan]{task.fields[state]}"),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
