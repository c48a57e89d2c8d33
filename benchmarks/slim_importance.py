"""Compare measures of importance for ``tfresnet export --slim``, without fine-tuning.

    python -m benchmarks.slim_importance cifar10-resnet20 --macs 24000000

The last tenth of the training images is held back. Channels are removed by each measure, ranked as
it is and for each multiply-add, then the statistics of batch normalization are measured anew, and
the accuracy on images that were held back is printed. CIFAR-10 is expected: 50,000 images.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import tfresnet.keras2  # noqa: F401  before TensorFlow
from tfresnet import evaluation, tasks
from tfresnet.data import pipeline
from tfresnet.deploy.compress import channels, slim
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.channels import Costs
from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.keras2 import keras
from tfresnet.runs.run_directory import Run, open_run

PARTS = {"train_split": "train[:45000]", "eval_split": "train[45000:]"}
STATISTICS = 1_536  # training images for those of batch normalization
MEASURED = 2_000  # images that were held back


@dataclass(frozen=True)
class EqualCosts(Costs):
    """Costs that do not matter for the order."""

    def per_channel(self) -> list[float]:
        """Return the same for each convolution."""
        return [1.0] * len(self.inner)


def main() -> None:
    """Print a row for each measure and order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--macs", type=int, default=24_000_000)
    parser.add_argument("--images", type=int, default=4_096, help="for the measure of the loss")
    given = parser.parse_args()
    run = open_run(given.run)
    tuner = FineTuner(run, run.dataset(**PARTS), Path("unused"))
    network = FunctionalNetwork.of(run.model(), run.spec.shape)
    inner = channels.inner_convolutions(network.model)
    loss = tasks.of(run.output).loss(run.config.train, tuner.dataset.train)
    measures = {
        "taylor": channels.by_taylor(network.model, inner, tuner.batches(given.images), loss),
        "norm": channels.by_norm(network.model, inner),
    }
    costs = Costs.of(network.model, inner)
    orders = {"as it is": EqualCosts(inner, costs.total, costs.layers), "by cost": costs}
    print(f"{'whole':20} {costs.total / 1e6:5.1f} M  {top1(run, network.model, tuner):.4f}")
    for name, importance in measures.items():
        for order, used in orders.items():
            kept = channels.least_important(importance, used, 8, macs=given.macs)
            slim_run = replace(run, config=slim.slim_config(run, kept))
            model = slim.cut(network.model, slim_run, inner, kept)
            for images, _ in tuner.batches(STATISTICS):
                model(images, training=True)
            macs = costs.with_widths([len(channels) for channels in kept])
            row = f"{name + ', ' + order:20} {macs / 1e6:5.1f} M  {top1(run, model, tuner):.4f}"
            print(row, [len(channels) for channels in kept], flush=True)


def top1(run: Run, model: keras.Model, tuner: FineTuner) -> float:
    """Return the accuracy on images that were held back, a fraction of 1."""
    task = tasks.of(run.output)
    predict = evaluation.network_predict(model, run.spec, task)
    batches = pipeline.raw_batches(tuner.dataset.held_out, 500, MEASURED)
    return evaluation.measure(predict, batches, task).scores()["top1"]


if __name__ == "__main__":
    main()
