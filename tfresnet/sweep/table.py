"""The results of a sweep: one row for each variant, as Markdown, CSV, JSON and a figure."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfresnet.runs.experiments import Experiment
from tfresnet.runtime.spec import CLASSIFICATION
from tfresnet.sweep import markdown
from tfresnet.sweep.runner import Outcome
from tfresnet.system import units
from tfresnet.system.files import png, read_json_lines, write_bytes, write_text
from tfresnet.tasks import intervals
from tfresnet.tasks.headings import HEADINGS, Headings, heading, of_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP1 = HEADINGS[CLASSIFICATION].primary
RESULT_KEYS = ("command", "commit", "test", "wall_seconds", "epochs")
SCORES = ("test_{}", "ema_{}", "flip_{}")  # further keys, of the task's primary number
# What a row has of it; sweep.json and sweep.csv have its name in the place of "value".
OF_PRIMARY = {
    "values": "{}", "value_mean": "{}_mean", "value_std": "{}_std",
    "value_interval": "{}_interval",
}  # fmt: skip


@dataclass
class Row:
    """A variant: the mean of its runs. None stands for what is unknown since all runs failed.

    Attributes:
        variant: its name in the sweep's file.
        seeds: number of runs that finished.
        failed: number of runs that failed.
        values: the number that each run's deployed weights are judged by, held-out accuracy or
            another of the task, fractions of 1.
        value_mean: mean of ``values``.
        value_std: its sample standard deviation; None for one seed.
        value_interval: the 95 % confidence interval of the mean; for one seed, that of the images.
        parameters: number of trainable parameters.
        wall_seconds: mean time of a run.
        images_per_second: mean rate of training.
        petaflop: mean arithmetic of a run's training, see ``training.work``.
        difference: of ``value_mean`` from the first variant's, in percentage points.
        primary: the key of that number: ``top1``, ``miou``, ``map50`` or ``map``.
    """

    variant: str
    seeds: int
    failed: int
    values: list[float] = field(default_factory=list)
    value_mean: float | None = None
    value_std: float | None = None
    value_interval: list[float] | None = None
    parameters: int | None = None
    wall_seconds: float | None = None
    images_per_second: float | None = None
    petaflop: float | None = None
    difference: float | None = None
    primary: str = TOP1

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Row":
        """Return the row of a ``sweep.json``, also of an earlier version without intervals."""
        primary = next(h.primary for h in HEADINGS.values() if h.primary in values)
        own = {form.format(primary): name for name, form in OF_PRIMARY.items()}
        named = {own.get(key, key): value for key, value in values.items()}
        known = {each.name for each in fields(cls)}
        row = cls(**{key: value for key, value in named.items() if key in known}, primary=primary)
        if row.value_interval is None and (interval := intervals.mean(row.values)):
            row.value_interval = list(interval)
        return row

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON types, the primary number under its own name."""
        values = {OF_PRIMARY.get(k, k).format(self.primary): v for k, v in asdict(self).items()}
        del values["primary"]
        return values


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return a row for each variant, in the order of the sweep."""
    variants: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        variants.setdefault(outcome.trial.variant, []).append(outcome)
    found = [_row(variant, group) for variant, group in variants.items()]
    primary = next((row.primary for row in found if row.values), TOP1)
    # What failed has no task, and with a variant of another one nothing compares.
    found = [
        row
        if row.primary == primary
        else Row(row.variant, 0, row.seeds + row.failed, primary=primary)
        for row in found
    ]
    first = found[0].value_mean
    for row in found:
        if first is not None and row.value_mean is not None:
            row.difference = 100 * (row.value_mean - first)
    return found


def _row(variant: str, group: list[Outcome]) -> Row:
    results = tuple(outcome.result for outcome in group if outcome.result)
    row = Row(variant, len(results), len(group) - len(results))
    if not results:
        return row
    experiment = Experiment(results)
    row.primary, row.values = experiment.headings.primary, experiment.values
    row.value_mean = statistics.fmean(row.values)
    row.value_std = statistics.stdev(row.values) if len(row.values) > 1 else None
    row.value_interval = list(experiment.interval)
    row.parameters = experiment.first.parameters
    row.wall_seconds = statistics.fmean(r.wall_seconds for r in results)
    row.images_per_second = statistics.fmean(r.images_per_second for r in results)
    row.petaflop = experiment.petaflop
    return row


def to_markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table, with accuracies in percent and times in minutes."""
    return markdown.table([_cells(row) for row in rows])


def _cells(row: Row) -> dict[str, str]:
    def shown(value: float | None, form: str, unit: int = 1) -> str:
        return "-" if value is None else format(value / unit, form)

    return {
        "variant": row.variant,
        "seeds": f"{row.seeds} ({row.failed} failed)" if row.failed else str(row.seeds),
        f"{heading(row.primary)} (%)": markdown.percent(row.values) if row.values else "-",
        "95 %": intervals.shown(row.value_interval) if row.value_interval else "-",
        "difference": shown(row.difference, "+.2f"),
        "parameters": shown(row.parameters, ",.0f"),
        "PFLOP": units.petaflop(row.petaflop),
        "minutes": shown(row.wall_seconds, ".1f", 60),
        "images/s": shown(row.images_per_second, ",.0f"),
    }


def write(
    name: str, description: str, outcomes: Sequence[Outcome], directory: Path
) -> dict[str, Any]:
    """Write sweep.md, sweep.csv, sweep.json and sweep.png; return the content of the JSON."""
    found = rows(outcomes)
    content = {
        "sweep": name,
        "description": description,
        "markdown": to_markdown(found),
        "rows": [row.to_json() for row in found],
        "runs": [_run(outcome) for outcome in outcomes],
        "environment": next((o.result.environment.to_dict() for o in outcomes if o.result), None),
    }
    write_text(directory / "sweep.md", f"{content['markdown']}\n")
    write_text(directory / "sweep.csv", _csv(found))
    write_text(directory / "sweep.json", json.dumps(content, indent=1) + "\n")
    if any(row.values for row in found):
        write_bytes(directory / "sweep.png", png(plot(name, found)))
    return content


def _run(outcome: Outcome) -> dict[str, Any]:
    """Return what ``sweep.json`` says about a run; numbers are None if it failed."""
    trial = outcome.trial
    values = outcome.result.to_dict() if outcome.result else {}
    headings = of_record(values.get("test", {})) or HEADINGS[CLASSIFICATION]
    keys = (*RESULT_KEYS, *(key.format(headings.primary) for key in SCORES))
    return {
        "variant": trial.variant,
        "seed": trial.seed,
        "base": trial.base,
        "settings": list(trial.settings),
        "run": str(trial.directory),
        "error": outcome.error,
        "train_accuracy": _fit(trial.directory, headings) if outcome.result else None,
        **{key: values.get(key) for key in keys},
    }


def _fit(run: Path, headings: Headings) -> float | None:
    """Return how well the augmented training images of the last epoch are predicted."""
    epochs = read_json_lines(run / "metrics.jsonl")
    return epochs[-1][headings.fit] if epochs else None


def _csv(rows: Sequence[Row]) -> str:
    flat = [row.to_json() | {row.primary: " ".join(map(str, row.values))} for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def plot(name: str, rows: Sequence[Row]) -> "Figure":
    """Return a figure with the mean and the deviation of each variant, and each run as a dot."""
    from matplotlib.figure import Figure

    shown = [(row, 100 * row.value_mean) for row in rows if row.value_mean is not None]
    figure = Figure(figsize=(8, 1.6 + 0.4 * len(shown)), layout="constrained")
    axis = figure.subplots()
    for y, (row, mean) in enumerate(shown):
        dots = [100 * value for value in row.values]
        axis.plot(dots, [y] * len(dots), "o", color="0.6", ms=4, label="a run")
        error = None if row.value_std is None else 100 * row.value_std
        axis.errorbar(
            mean, y, xerr=error, fmt="D", color="tab:blue", capsize=3,
            label="mean, standard deviation",
        )  # fmt: skip
    first, mean = shown[0]
    axis.axvline(mean, color="0.8", zorder=0, label=f"{first.variant}: mean")
    axis.set_yticks(range(len(shown)), [row.variant for row, _ in shown], parse_math=False)
    axis.set_ylim(len(shown) - 0.4, -0.6)  # the first one on top, and no dot on the frame
    axis.margins(x=0.08)
    axis.set_xlabel(f"held-out {heading(rows[0].primary)} (%)")
    axis.set_title(name, parse_math=False)
    axis.grid(alpha=0.3, axis="x")
    handles, labels = axis.get_legend_handles_labels()
    legend = dict(zip(labels, handles, strict=True))  # each once
    figure.legend(
        legend.values(), legend, loc="outside lower center", ncols=len(legend), fontsize=8
    )
    return figure
