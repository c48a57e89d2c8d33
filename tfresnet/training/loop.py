"""The training loop: many steps in one ``tf.function``, an evaluation, a checkpoint, again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import evaluation, tasks
from tfresnet.config.loading import dataset_name
from tfresnet.config.sections import RunConfig, TrainConfig
from tfresnet.data import pipeline, service, task_settings
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import Split
from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError
from tfresnet.tasks.base import Task
from tfresnet.training import checkpoint, convolution, precision, preview, timing
from tfresnet.training.agreement import Agreement
from tfresnet.training.distribute import average_statistics, distributed, make_strategy
from tfresnet.training.divergence import Diverged, check_loss, check_weights
from tfresnet.training.interrupt import Interrupted, StopRequest, stop_request
from tfresnet.training.metrics_log import MetricsLog, plot
from tfresnet.training.optimizers import build_for, make_optimizer, set_factors
from tfresnet.training.patience import score_key, stale
from tfresnet.training.progress import TrainingDisplay
from tfresnet.training.step import TrainStep, update_average
from tfresnet.training.sync_batch_norm import synchronize
from tfresnet.training.workers import cluster

SECONDS_PER_CALL = 1.0  # of training between two updates of the display
STEPS_PER_CALL = 20  # the same with several workers
LOWEST_FACTOR = 1 / 32  # of the learning rate, after repeated roll-backs
CHOSEN = (
    "train.patience and train.keep=best choose an epoch on the held-out images: measure what comes "
    "out on others, or set training images aside for that with data.validation_fraction=0.1"
)


class Trainer:
    """Trains a model on a data set, in a directory from which training can be resumed.

    The directory gets ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/`` and ``curves.png``.
    With several workers, each does all of this in a directory of its own.

    Args:
        config: the run's configuration.
        dataset: training and held-out images.
        directory: of the run; it need not exist yet.
        build_model: returns a built model; called in the strategy's scope, also for the moving
            average.
        build_teacher: returns the model whose outputs are to be matched, in the same scope.
        strategy: of the devices; by default made of the configuration.
        build_evaluated: returns the same network in float32, as it is deployed, which is evaluated
            after every epoch; by default that is the network which is trained, in its precision.
        task: what the model does; by default that of the data set.

    Attributes:
        warnings: lines that are printed before training.
        stage: a word, such as ``pruning``, that stands before each epoch on the display.

    Raises:
        InputError: settings, batch size, devices and data do not go together.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        directory: Path,
        build_model: Callable[[], keras.Model],
        build_teacher: Callable[[], keras.Model] | None = None,
        strategy: tf.distribute.Strategy | None = None,
        build_evaluated: Callable[[], keras.Model] | None = None,
        task: Task | None = None,
    ):
        self.config, self.dataset, self.directory = config.train, dataset, directory
        self.task = task or tasks.of(dataset.output)
        self.data_config = config.data
        data = dataset_name(config.data.dataset)
        self.title = f"{directory.resolve().name}: {config.model.arch} on {data}"
        self.steps_per_epoch = pipeline.steps_per_epoch(dataset.train, config.train.batch_size)
        self.total_steps = self.steps_per_epoch * config.train.epochs
        pipeline.check(config.data, dataset.spec, config.train.batch_size, dataset.output.task)
        task_settings.check_training(config.train, dataset.output.task)
        if config.data.service:
            service.check(config.data.service, dataset.train)
        self.segments = pipeline.segments(config.data, config.train.epochs, self.steps_per_epoch)
        # Same seed, same machine, same weights: the input stream is stateless (data.pipeline),
        # and on a CPU deterministic operations cost nothing that can be measured.
        keras.utils.set_random_seed(config.train.seed)
        if not tf.config.list_physical_devices("GPU"):
            tf.config.experimental.enable_op_determinism()
        self.strategy = strategy or make_strategy(config.train)
        with self.strategy.scope():
            self.model = build_model()
            if not config.train.xla:  # XLA has kernels of its own
                convolution.adapt(self.model)
            if config.train.sync_batch_norm:
                synchronize(self.model)
            self.average = self._copy(build_model) if config.train.ema_decay else None
            self.teacher = build_teacher() if build_teacher else None
            self.rate_factor = tf.Variable(1.0, trainable=False)
            self.optimizer = make_optimizer(
                config.train, self.steps_per_epoch, self.total_steps, self.rate_factor
            )
            build_for(self.optimizer, self.model.trainable_variables)
            set_factors(self.optimizer, config.train, self.model)
            self.loss = keras.metrics.Mean()
            self.accuracy = keras.metrics.Mean()
        self.workers = Agreement(self.strategy)
        self.warnings = _warnings(config.train, dataset.validation is not None)
        self.stage = ""
        self.stop = StopRequest()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)  # of this epoch so far
        self.source_end = 0  # the step up to which there are batches
        self.masks_end = 0  # the step up to which the dropout masks of one seed are used
        loss = self.task.loss(config.train, dataset.train)
        step = TrainStep(
            config.train, self.model, self.optimizer, loss, self._observe, self.teacher
        )
        self.train_step = tf.function(step, jit_compile=True) if config.train.xla else step
        self.deployed = self.average or self.model
        self.evaluated = build_evaluated() if build_evaluated else self.deployed
        self.predict = evaluation.network_predict(self.evaluated, dataset.spec, self.task)
        self.checkpoints = checkpoint.manager(
            directory / "checkpoints", self.model, self.optimizer, self.step, self.average,
            loss=self.loss, accuracy=self.accuracy, seconds=self.seconds,
            rate_factor=self.rate_factor,
        )  # fmt: skip

    @property
    def score(self) -> str:
        """The key of an epoch's record by which epochs are compared."""
        return score_key(self.data_config, self.task.primary)

    def _copy(self, build_model: Callable[[], keras.Model]) -> keras.Model:
        """Build a second model with the same weights."""
        copy = build_model()
        _assign(copy, self.model)
        return copy

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the end.

        Every epoch adds a record to ``metrics.jsonl``: ``epoch step loss accuracy learning_rate
        images_per_second seconds wall_seconds`` (the latter includes the evaluation), and when it
        was evaluated ``held_out_top1`` and, if there are such, ``held_out_loss`` and
        ``validation_top1``. In place of
        ``accuracy`` and ``top1`` other tasks have what their headings say: multi-label
        ``exact_match`` and ``map``.

        Raises:
            Interrupted: by a signal, see ``interrupt``; a checkpoint was saved.
            InputError: training diverged, or a checkpoint can't be written or read.
        """
        passed_over = checkpoint.restore(self.checkpoints)
        common = self.workers.lowest(int(self.step))
        if common < int(self.step):  # go back to the newest step that all workers have saved
            checkpoint.restore_step(self.checkpoints, common)
        first_step = int(self.step)
        log = MetricsLog(self.directory, first_step // self.steps_per_epoch, self.score)
        saved = bool(self.checkpoints.latest_checkpoint)
        if not self.workers.lowest(saved):  # fail now if nothing can be written; all take part
            checkpoint.save(self.checkpoints)
        display = TrainingDisplay(
            self.config.epochs, self.total_steps, first_step, self.stage,
            headings=self.task.headings,
        )  # fmt: skip
        for problem in passed_over:
            display.warn(f"{problem}; going on from step {first_step} instead")
        for warning in self.warnings:
            display.warn(warning)
        with display, stop_request() as self.stop:
            while int(self.step) < self.total_steps:
                if stale(log.records, self.score, self.config.patience):
                    break
                try:
                    self._epoch(log, display)
                except Diverged as divergence:
                    self._roll_back(divergence, display)
        plot(log.records, self.title, self.directory / "curves.png", self.task.headings)

    def _epoch(self, log: MetricsLog, display: TrainingDisplay) -> None:
        """Train to the end of an epoch, evaluate, add the record, and save a checkpoint."""
        epoch = int(self.step) // self.steps_per_epoch + 1
        record = self._train_epoch(epoch, log, display)
        started = time.perf_counter()
        check_weights(self.model, int(self.step))
        if epoch % self.config.eval_every == 0 or epoch == self.config.epochs:
            display.evaluating()
            record |= self._evaluate()
            display.epoch_line(epoch, record)
        record["wall_seconds"] = record["seconds"] + time.perf_counter() - started
        if self.config.keep == "best" and log.is_best(record):
            best = checkpoint.kept(self.directory, "best")
            checkpoint.save_weights(best, self.model, int(self.step), self.average)
        # The record first: if there is no checkpoint yet, --resume writes it again.
        log.add(record)
        checkpoint.save(self.checkpoints)
        average_statistics(self.strategy, self.model, self.average)
        if number := self.workers.highest(self.stop.signal):
            raise Interrupted(number)

    def _roll_back(self, divergence: Diverged, display: TrainingDisplay) -> None:
        """Restore the last checkpoint and halve the learning rate from there on."""
        factor = float(self.rate_factor.numpy()) / 2
        if self.config.on_nan == "stop" or factor < LOWEST_FACTOR:
            stopped = self.config.on_nan == "stop"
            more = "or go back at a lower rate with --on-nan rollback"
            raise InputError(
                f"{divergence}; the last good checkpoint is {self.checkpoints.latest_checkpoint}; "
                "lower train.lr, lengthen train.warmup_epochs, or set train.grad_clip=1"
                + (f", {more}" if stopped else f"; {2 * factor:g} of the rate was tried")
            )
        checkpoint.restore(self.checkpoints)
        self.rate_factor.assign(factor)
        self.source_end = 0
        display.warn(
            f"{divergence}; back to step {int(self.step)}, at {factor:g} of the learning rate"
        )

    def distributed(self, batches: tf.data.Dataset) -> tf.distribute.DistributedIterator:
        """Return an iterator that distributes each batch over the replicas."""
        return distributed(self.strategy, batches, self.config.batch_size)

    def segment(self, step: int) -> tuple[int, int | None]:
        """Return the last step with images as large as at ``step``, and their size in pixels.

        The size is None for the full one.
        """
        return next((end, size) for end, size in self.segments if end > step)

    def batches(self, first_step: int) -> tf.data.Dataset:
        """Return the batches, normalized images and targets, from a step on to the next size."""
        end, size = self.segment(first_step)
        return pipeline.train_batches(
            self.dataset.train,
            self.dataset.spec,
            self.task.targets,
            self.data_config,
            self.config.batch_size,
            self.config.seed,
            first_step,
            end,
            size,
            self.dataset.output.task,
        )

    def _batches(self) -> tf.distribute.DistributedIterator:
        """Return an iterator over the next batches, to the end of the epoch at least."""
        step = int(self.step)
        end, _ = self.segment(step)
        if end != self.source_end:
            if end != self.masks_end:  # after a roll-back the masks of before would be repeated
                self._seed_masks(step)
                self.masks_end = end
            self.source, self.source_end = self.distributed(self.batches(step)), end
        return self.source

    def _seed_masks(self, step: int) -> None:
        """Re-seed the dropout masks, so that they differ between segments and between workers."""
        number = cluster().number if self.workers.several else 0
        if step or number:
            # Hashed: with a sum, seed 0 at step 1 would have the masks of seed 1 at step 0.
            hashed = np.random.SeedSequence((self.config.seed, step, number))
            tf.random.set_seed(int(hashed.generate_state(1)[0]))

    def _train_epoch(self, epoch: int, log: MetricsLog, display: TrainingDisplay) -> dict:
        step, last, chunk = int(self.step), epoch * self.steps_per_epoch, 1
        if step == last - self.steps_per_epoch:
            self.loss.reset_state()
            self.accuracy.reset_state()
            self.seconds.assign(0.0)
        batches = self._batches()
        while step < last:
            before, count = time.perf_counter(), min(chunk, last - step)
            self.train_steps(batches, tf.constant(count))
            step += count
            # Before the clock is read, since this waits for the GPU.
            check_loss(float(self.loss.result()), step)
            seconds = time.perf_counter() - before
            self.seconds.assign_add(seconds)
            rate = count * self.config.batch_size / seconds
            display.update(epoch, step, rate, float(self.loss.result()),
                           float(self.accuracy.result()))  # fmt: skip
            # A signal to one worker stops all of them, since all take part in saving.
            if step < last and (number := self.workers.highest(self.stop.signal)):
                check_weights(self.model, step)
                checkpoint.save(self.checkpoints)
                raise Interrupted(number)
            if display.wants_bottleneck() and step < last:
                self._show_input(step, rate, log, display)
            chunk = max(1, min(2 * chunk, round(count * SECONDS_PER_CALL / seconds)))
            if self.workers.several:  # all must take the same number, whatever their clocks say
                chunk = STEPS_PER_CALL
        seconds = float(self.seconds.numpy())
        return {
            "epoch": epoch,
            "step": step,
            "loss": float(self.loss.result()),
            self.task.headings.fit: float(self.accuracy.result()),
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
            "images_per_second": self.steps_per_epoch * self.config.batch_size / seconds,
            "seconds": seconds,
        }

    def _show_input(
        self, step: int, rate: float, log: MetricsLog, display: TrainingDisplay
    ) -> None:
        """Log images of a batch, and show whether the input limits the rate of training."""
        images, input_rate = timing.input_rate(self.batches(step), self.config.batch_size)
        log.add_images(step, preview.pixels(images, self.dataset.spec))
        display.bottleneck(rate, input_rate)

    def _evaluate(self) -> dict:
        """Measure the weights that would be deployed, in float32, on what is not trained on."""
        if self.evaluated is not self.deployed:
            _assign(self.evaluated, self.deployed)
        primary = self.task.primary
        scores = self._scores(self.dataset.held_out)
        loss = {"held_out_loss": scores["loss"]} if "loss" in scores else {}
        found = {f"held_out_{primary}": scores[primary], **loss}
        if self.dataset.validation is not None:
            found[self.score] = self._scores(self.dataset.validation)[primary]
        return found

    def _scores(self, split: Split) -> dict[str, float]:
        try:
            found = evaluation.measure(self.predict, evaluation.batches_of(split), self.task)
        except evaluation.NotNumbers as error:  # finite weights, but far too large
            step = int(self.step)
            raise Diverged(f"the answers for {error.images} are NaN at step {step}") from None
        return found.scores()

    @tf.function
    def train_steps(self, batches: tf.distribute.DistributedIterator, count: tf.Tensor) -> None:
        """Run ``count`` steps without returning to Python."""
        for _ in tf.range(count):
            self.strategy.run(self.train_step, args=next(batches))
            self.step.assign_add(1)
            if self.average is not None:
                update_average(
                    self.strategy, self.average, self.model, self.config.ema_decay, self.step
                )

    def _observe(self, targets: Any, outputs: Any, losses: tf.Tensor) -> None:
        self.loss.update_state(losses)
        self.accuracy.update_state(self.task.correct(targets, outputs))


def _warnings(config: TrainConfig, validation: bool) -> list[str]:
    """Return warnings about the configuration; there may be images to choose an epoch on."""
    chosen = CHOSEN if (config.patience or config.keep == "best") and not validation else None
    return [text for text in (chosen, precision.advice(config.precision)) if text]


def _assign(model: keras.Model, source: keras.Model) -> None:
    """Copy the weights of another model of the same architecture into ``model``."""
    for variable, value in zip(model.variables, source.variables, strict=True):
        variable.assign(value)
