"""What came of a sweep: one row a variant, as Markdown, CSV, JSON and a picture."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfresnet.records import top1_interval
from tfresnet.results_page import sweep_table
from tfresnet.sweep.runner import Outcome
from tfresnet.system.files import png, read_json_lines, write_bytes, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a row a variant, in the order of the sweep.

    Its keys are ``variant seeds failed top1 top1_mean top1_std top1_interval difference parameters
    wall_seconds images_per_second``: accuracies as fractions of 1 on the held-out images (of the
    weights that are deployed), of every seed, their mean, their standard deviation (of a sample,
    None for one seed) and the 95 % interval (of the mean; for one seed, of the images); the
    difference of the mean from the first variant's in percentage points; the mean time and rate of
    a run. A variant of which all runs failed has None for all of these.
    """
    variants: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        variants.setdefault(outcome.trial.variant, []).append(outcome)
    result = [_row(variant, group) for variant, group in variants.items()]
    first = result[0]["top1_mean"]
    for row in result:
        known = first is not None and row["top1_mean"] is not None
        row["difference"] = 100 * (row["top1_mean"] - first) if known else None
    return result


def _row(variant: str, group: list[Outcome]) -> dict[str, Any]:
    results = [outcome.result for outcome in group if outcome.result]
    top1 = [r["test"]["top1"] for r in results]

    def mean(key: str) -> float | None:
        return statistics.fmean(r[key] for r in results) if results else None

    return {
        "variant": variant,
        "seeds": len(results),
        "failed": len(group) - len(results),
        "top1": top1,
        "top1_mean": statistics.fmean(top1) if top1 else None,
        "top1_std": statistics.stdev(top1) if len(top1) > 1 else None,
        "top1_interval": list(top1_interval(results)) if results else None,
        "parameters": results[0]["parameters"] if results else None,
        "wall_seconds": mean("wall_seconds"),
        "images_per_second": mean("images_per_second"),
    }


def write(
    name: str, description: str, outcomes: Sequence[Outcome], directory: Path
) -> dict[str, Any]:
    """Write sweep.md, sweep.csv, sweep.json and sweep.png; return what the JSON holds."""
    table = rows(outcomes)
    runs = [
        {
            "variant": o.trial.variant,
            "seed": o.trial.seed,
            "base": o.trial.base,
            "settings": list(o.trial.settings),
            "run": str(o.trial.directory),
            "error": o.error,
            "train_accuracy": _train_accuracy(o) if o.result else None,
            **{key: o.result.get(key) for key in ("command", "commit", "test_top1", "ema_top1",
                                                  "flip_top1", "test", "wall_seconds", "epochs")},
        }
        for o in outcomes
    ]  # fmt: skip
    environment = next((o.result["environment"] for o in outcomes if o.result), None)
    whole = {
        "sweep": name,
        "description": description,
        "markdown": sweep_table(table),
        "rows": table,
        "runs": runs,
        "environment": environment,
    }
    write_text(directory / "sweep.md", f"{whole['markdown']}\n")
    write_text(directory / "sweep.csv", _csv(table))
    write_text(directory / "sweep.json", json.dumps(whole, indent=1) + "\n")
    if any(row["top1"] for row in table):
        write_bytes(directory / "sweep.png", png(plot(name, table)))
    return whole


def _train_accuracy(outcome: Outcome) -> float | None:
    """Return the accuracy on the last epoch's training images, varied as they were."""
    epochs = read_json_lines(outcome.trial.directory / "metrics.jsonl")
    return epochs[-1]["accuracy"] if epochs else None


def _csv(table: Sequence[dict[str, Any]]) -> str:
    flat = [row | {"top1": " ".join(map(str, row["top1"]))} for row in table]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def plot(name: str, table: Sequence[dict[str, Any]]) -> "Figure":
    """Return a figure with the mean and the deviation of each variant, and every run as a dot."""
    from matplotlib.figure import Figure

    shown = [row for row in table if row["top1"]]
    figure = Figure(figsize=(8, 1.6 + 0.4 * len(shown)), layout="constrained")
    axis = figure.subplots()
    for y, row in enumerate(shown):
        dots = [100 * t for t in row["top1"]]
        axis.plot(dots, [y] * len(dots), "o", color="0.6", ms=4, label="a run")
        error = None if row["top1_std"] is None else 100 * row["top1_std"]
        axis.errorbar(
            100 * row["top1_mean"], y, xerr=error, fmt="D", color="tab:blue", capsize=3,
            label="mean, standard deviation",
        )  # fmt: skip
    first = shown[0]
    axis.axvline(100 * first["top1_mean"], color="0.8", zorder=0, label=f"{first['variant']}: mean")
    axis.set_yticks(range(len(shown)), [row["variant"] for row in shown], parse_math=False)
    axis.set_ylim(len(shown) - 0.4, -0.6)  # the first one on top, and no dot on the frame
    axis.margins(x=0.08)
    axis.set_xlabel("held-out top-1 (%)")
    axis.set_title(name, parse_math=False)
    axis.grid(alpha=0.3, axis="x")
    handles, labels = axis.get_legend_handles_labels()
    legend = dict(zip(labels, handles, strict=True))  # each once
    figure.legend(
        legend.values(), legend, loc="outside lower center", ncols=len(legend), fontsize=8
    )
    return figure
