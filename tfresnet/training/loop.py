"""The training loop: many steps in one ``tf.function``, an evaluation, a checkpoint, again."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from tfresnet import evaluate
from tfresnet.config import RunConfig
from tfresnet.data import pipeline
from tfresnet.data.sources import Dataset
from tfresnet.errors import UserError
from tfresnet.training import checkpoint
from tfresnet.training.distribute import distributed, is_multiworker, make_strategy
from tfresnet.training.interrupt import Interrupted, StopRequest, stop_request
from tfresnet.training.metrics_log import MetricsLog, plot
from tfresnet.training.optimizers import build_for, make_optimizer
from tfresnet.training.progress import TrainingDisplay
from tfresnet.training.step import TrainStep, update_average

SECONDS_PER_CALL = 1.0  # of training between two updates of the display
STEPS_PER_CALL = 20  # the same with several workers


class Trainer:
    """Trains one model on one dataset, in a directory that it can be resumed from.

    The directory gets ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/`` and ``curves.png``.
    ``build_model`` takes nothing and returns a built model, ``build_teacher`` one to be matched;
    they are called in the strategy's scope. ``strategy`` is by default made of the configuration.
    With several workers, each does all of this in a directory of its own.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        directory: Path,
        build_model: Callable[[], keras.Model],
        build_teacher: Callable[[], keras.Model] | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.config, self.dataset, self.directory = config.train, dataset, directory
        self.data_config = config.data
        self.title = f"{config.name}: {config.model.arch} on {config.data.dataset}"
        self.steps_per_epoch = pipeline.steps_per_epoch(dataset.train, config.train.batch_size)
        self.total_steps = self.steps_per_epoch * config.train.epochs
        # Same seed, same machine, same weights: the input stream is stateless (data.pipeline),
        # and on a CPU deterministic operations cost nothing that can be measured.
        keras.utils.set_random_seed(config.train.seed)
        if not tf.config.list_physical_devices("GPU"):
            tf.config.experimental.enable_op_determinism()
        self.strategy = strategy or make_strategy(config.train)
        with self.strategy.scope():
            self.model = build_model()
            self.average = self._copy(build_model) if config.train.ema_decay else None
            teacher = build_teacher() if build_teacher else None
            self.optimizer = make_optimizer(config.train, self.steps_per_epoch, self.total_steps)
            build_for(self.optimizer, self.model.trainable_variables)
            self.loss = keras.metrics.Mean()
            self.accuracy = keras.metrics.Mean()
        self.workers = is_multiworker(self.strategy)
        self.stop = StopRequest()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        step = TrainStep(config.train, self.model, self.optimizer, teacher, self._observe)
        self.train_step = tf.function(step, jit_compile=True) if config.train.xla else step
        # What is deployed is what is evaluated.
        self.probabilities = evaluate.probability_function(self.average or self.model)
        self.checkpoints = checkpoint.manager(
            directory / "checkpoints", self.model, self.optimizer, self.step, self.average,
            loss=self.loss, accuracy=self.accuracy,
        )  # fmt: skip

    def _copy(self, build_model: Callable[[], keras.Model]) -> keras.Model:
        """Return another model with the same weights."""
        copy = build_model()
        for mean, value in zip(copy.variables, self.model.variables, strict=True):
            mean.assign(value)
        return copy

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the end.

        Every epoch adds a record to ``metrics.jsonl``: ``epoch step loss accuracy learning_rate
        images_per_second seconds wall_seconds`` (the latter with the evaluation), and when it
        was evaluated ``held_out_top1 held_out_loss``.

        Raises:
            Interrupted: by Ctrl-C or SIGTERM; where it was is saved.
            UserError: the loss is no number any more, or a checkpoint can't be written or read.
        """
        passed_over = checkpoint.restore(self.checkpoints)
        self._agree_on_the_step()
        first_step = int(self.step)
        first_epoch = first_step // self.steps_per_epoch
        log = MetricsLog(self.directory, first_epoch)
        batches = self.distributed(self.batches(first_step))
        # A signal comes to one worker, but to save takes all of them: there, epochs are saved.
        catching = contextlib.nullcontext(self.stop) if self.workers else stop_request()
        display = TrainingDisplay(self.config.epochs, self.total_steps, first_step)
        for problem in passed_over:
            display.warn(f"{problem}; going on from step {first_step} instead")
        with display, catching as self.stop:
            for epoch in range(first_epoch + 1, self.config.epochs + 1):
                started = time.perf_counter()
                record = self._train_epoch(epoch, batches, display)
                if epoch % self.config.eval_every == 0 or epoch == self.config.epochs:
                    record |= self._evaluate()
                    display.epoch_line(epoch, record)
                # The record first: one without a checkpoint is written again on --resume.
                log.add(record | {"wall_seconds": time.perf_counter() - started})
                checkpoint.save(self.checkpoints)
                self._stop_if_asked()
        plot(log.records, self.title, self.directory / "curves.png")

    def distributed(self, batches: tf.data.Dataset) -> tf.distribute.DistributedIterator:
        """Return an iterator that shares the batches out over the replicas."""
        return distributed(self.strategy, batches, self.config.batch_size)

    def _agree_on_the_step(self) -> None:
        """Go back to the newest step that all workers have saved."""
        if not self.workers:
            return
        own = self.strategy.run(lambda: tf.identity(self.step)[None])
        oldest = int(tf.reduce_min(self.strategy.gather(own, axis=0)))
        if oldest < int(self.step):
            checkpoint.restore_step(self.checkpoints, oldest)

    def batches(self, first_step: int) -> tf.data.Dataset:
        """Return the batches from a step on: normalised images and soft labels."""
        return pipeline.train_batches(
            self.dataset.train,
            self.dataset.spec,
            self.data_config,
            self.config.batch_size,
            self.config.seed,
            first_step,
            self.total_steps,
        )

    def _train_epoch(
        self, epoch: int, batches: tf.distribute.DistributedIterator, display: TrainingDisplay
    ) -> dict:
        if int(self.step) == (epoch - 1) * self.steps_per_epoch:
            self.loss.reset_state()
            self.accuracy.reset_state()
        started, step, last = time.perf_counter(), int(self.step), epoch * self.steps_per_epoch
        first, chunk = step, 1
        while step < last:
            before, count = time.perf_counter(), min(chunk, last - step)
            self.train_steps(batches, tf.constant(count))
            seconds, step = time.perf_counter() - before, step + count
            self._check_loss(step)
            rate = count * self.config.batch_size / seconds
            display.update(epoch, step, rate, float(self.loss.result()),
                           float(self.accuracy.result()))  # fmt: skip
            if self.stop.signal and step < last:  # at its end, an epoch is recorded first
                checkpoint.save(self.checkpoints)
                self._stop_if_asked()
            chunk = max(1, min(2 * chunk, round(count * SECONDS_PER_CALL / seconds)))
            if self.workers:  # they must agree, and their clocks do not
                chunk = STEPS_PER_CALL
        seconds = time.perf_counter() - started
        return {
            "epoch": epoch,
            "step": step,
            "loss": float(self.loss.result()),
            "accuracy": float(self.accuracy.result()),
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
            "images_per_second": (step - first) * self.config.batch_size / seconds,
            "seconds": seconds,
        }

    def _stop_if_asked(self) -> None:
        if self.stop.signal:
            raise Interrupted(self.stop.signal)

    def _check_loss(self, step: int) -> None:
        if not math.isfinite(float(self.loss.result())):
            raise UserError(
                f"the loss became {float(self.loss.result())} at or before step {step}; the last "
                f"good checkpoint is {self.checkpoints.latest_checkpoint}; lower train.lr, "
                "lengthen train.warmup_epochs, or set train.grad_clip=1"
            )

    def _evaluate(self) -> dict:
        batches = pipeline.eval_batches(
            self.dataset.held_out, self.dataset.spec, evaluate.EVAL_BATCH
        )
        answers, classes = evaluate.collect(self.probabilities, batches)
        result = evaluate.metrics(answers, classes, self.dataset.spec.labels)
        return {"held_out_top1": result["top1"], "held_out_loss": result["loss"]}

    @tf.function
    def train_steps(self, batches: tf.distribute.DistributedIterator, count: tf.Tensor) -> None:
        """Run ``count`` steps without going back to Python."""
        for _ in tf.range(count):
            self.strategy.run(self.train_step, args=next(batches))
            self.step.assign_add(1)
            if self.average is not None:
                update_average(
                    self.strategy, self.average, self.model, self.config.ema_decay, self.step
                )

    def _observe(self, labels: tf.Tensor, logits: tf.Tensor, losses: tf.Tensor) -> None:
        self.loss.update_state(losses)
        self.accuracy.update_state(keras.metrics.categorical_accuracy(labels, logits))
