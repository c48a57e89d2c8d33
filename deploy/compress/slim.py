"""Structured pruning: remove channels inside blocks, and fine-tune what is left.

The result is an ordinary network with ``model.inner_widths``, in an ordinary run directory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet import tasks
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import RunConfig
from tfresnet.deploy.compress import channels
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.channels import Channels, Costs, InnerConvolution
from tfresnet.deploy.compress.finetune import FineTuner, Stage
from tfresnet.deploy.formats.base import SlimShape
from tfresnet.keras2 import keras
from tfresnet.models import zoo
from tfresnet.models.functional import functional, macs, parameters
from tfresnet.models.network import Network
from tfresnet.runs import preflight, run_directory, samples, train_run
from tfresnet.runs.run_directory import Run
from tfresnet.runtime.spec import CLASSIFICATION
from tfresnet.training import work

LR_FACTOR = 0.1  # of the run's peak rate: what is left must take over from what was removed
EXAMINED = 2_048  # training images for the importance of channels


@dataclass(frozen=True)
class Slimming:
    """Removes the least important channels inside the blocks of a ResNet.

    What is left is fine-tuned with the whole network as its teacher, in a run directory that every
    command takes.

    Attributes:
        share: of the inner channels that go, above 0 and below 1; 0 with ``macs``.
        macs: the most multiply-adds of an image that the network may have then; None for any.
        importance: ``taylor`` or ``norm``, see ``ExportConfig.slim_by``.
        multiple: of channels that a convolution keeps.
        epochs: of fine-tuning.
    """

    share: float
    macs: int | None
    importance: str
    multiple: int
    epochs: int
    name = "slim"
    stage = "slimming"

    @classmethod
    def of(cls, config: ExportConfig) -> "Slimming":
        """Return what an export asks for."""
        return cls(
            config.slim,
            config.max_macs,
            config.slim_by,
            config.slim_multiple,
            config.compress_epochs,
        )

    def check(self, network: FunctionalNetwork) -> None:
        """Raise an ``InputError`` if the network has no channels to remove, or too few."""
        preflight.slimming(network.model.name)
        inner = channels.inner_convolutions(network.model)
        any_order = [np.zeros(each.channels) for each in inner]
        self._choose(any_order, Costs.of(network.model, inner))

    def apply(self, network: FunctionalNetwork, fine_tune: FineTuner) -> FunctionalNetwork:
        """See :class:`.base.Compressor`."""
        inner = channels.inner_convolutions(network.model)
        importance = self._measured(network.model, inner, fine_tune)
        kept = self._choose(importance, Costs.of(network.model, inner))
        config = slim_config(fine_tune.run, kept)
        fine_tune = replace(fine_tune, run=replace(fine_tune.run, config=config))
        stage = Stage(self.stage, self.epochs, self._method(), LR_FACTOR, one_device=False)
        fine_tune(lambda: cut(network.model, fine_tune.run, inner, kept), stage)
        # Loaded anew: the variables that were trained may be on several devices.
        slim, shape = recorded(fine_tune, stage).model(), fine_tune.run.spec.shape
        found = SlimShape(tuple(map(len, kept)), parameters(slim), macs(slim, shape))
        return replace(FunctionalNetwork.of(slim, shape), slim=found)

    def _choose(self, importance: Channels, costs: Costs) -> list[np.ndarray]:
        return channels.least_important(importance, costs, self.multiple, self.share, self.macs)

    def _measured(
        self, model: keras.Model, inner: Sequence[InnerConvolution], fine_tune: FineTuner
    ) -> Channels:
        if self.importance == "norm":
            return channels.by_norm(model, inner)
        loss = tasks.of(fine_tune.run.output).loss(
            fine_tune.run.config.train, fine_tune.dataset.train
        )
        return channels.by_taylor(model, inner, fine_tune.batches(EXAMINED), loss)

    def _method(self) -> dict[str, Any]:
        return {"slim": self.share, "macs": self.macs, "by": self.importance}


def slim_config(run: Run, kept: Sequence[np.ndarray]) -> RunConfig:
    """Return the configuration of the run of the slim network.

    Its teacher is the whole network where the task has teachers. It starts from no other weights.
    """
    config = run.config
    teacher = str(run.directory.resolve()) if run.output.task == CLASSIFICATION else None
    start = {"init_from": None, "pretrained": False, "freeze_norms": False, "freeze_until": None}
    widths = {"inner_widths": [len(channels) for channels in kept]}
    return config.model_copy(
        update={
            "name": f"{config.name[:95]}-slim",
            "description": f"{config.name} with fewer channels inside its blocks.",
            "model": config.model.model_copy(update=widths),
            "train": config.train.model_copy(update=start | {"teacher": teacher}),
        }
    )


def cut(
    model: keras.Model, run: Run, inner: Sequence[InnerConvolution], kept: Sequence[np.ndarray]
) -> Network:
    """Build the network of a slim run, with the weights of the channels that stay.

    Args:
        model: the whole network, functional.
        run: with the slim network's configuration.
        inner: the convolutions inside its blocks.
        kept: indices of the channels that stay, of each.
    """
    head = tasks.of(run.output).head
    slim = zoo.build(run.config.model, run.spec.shape, len(run.output.labels), head=head)
    channels.copy_kept(model, functional(slim, run.spec.shape), inner, kept)
    return slim


def recorded(fine_tune: FineTuner, stage: Stage) -> Run:
    """Return the run of a finished fine-tuning; complete its folder to a run directory first."""
    if (fine_tune.directory / "result.json").exists():
        return run_directory.open_run(fine_tune.directory)
    run = fine_tune.run
    config = fine_tune.config(stage)
    made = run_directory.create(fine_tune.directory, config, run.spec, run.output)
    samples.write(fine_tune.dataset, made.directory / "samples")
    whole = config.train.teacher
    teacher = run_directory.open_run(Path(whole)).model() if whole else None
    petaflop = work.petaflop(config, run.spec, fine_tune.steps(1), made.model(), teacher)
    train_run.write_result(made, fine_tune.dataset, petaflop)
    return made
