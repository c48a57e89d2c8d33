"""Run a training as several processes, and start all again when one is lost."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tfresnet.launch import gpus
from tfresnet.launch.worker import Worker, ending, free_addresses
from tfresnet.runs.request import config_file
from tfresnet.training import workers

POLL = 0.1  # seconds between two looks at the processes
GRACE = 20.0  # seconds in which all end that have noticed the loss of another
MEET = 120.0  # seconds in which the workers must have started
STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # a run saves and ends on these
USAGE = 2  # the exit status for bad input, which another try does not change


@dataclass(frozen=True)
class Failure:
    """The end of a cluster before its time.

    Attributes:
        worker: the number of the first worker that failed.
        reason: what happened to it: ``was killed by SIGKILL``.
        status: the exit status that stands for it.
        log: the worker's log.
        lines: the last of the log.
        final: whether another try would end in the same way.
    """

    worker: int
    reason: str
    status: int
    log: Path
    lines: list[str]
    final: bool


@dataclass
class Outcome:
    """What came of a launch.

    Attributes:
        status: the exit status: 0, that of the first worker to fail, or 128 plus a signal's number.
        restarts: the failures after which all were started again.
        failure: the last one; None if the training ended, or was stopped.
    """

    status: int = 0
    restarts: list[Failure] = field(default_factory=list)
    failure: Failure | None = None


class Launcher:
    """Runs a command as a cluster of processes on this machine.

    Args:
        command: the program and its arguments, up to ``--resume``.
        count: the number of processes.
        directory: the run directory.
        logs: a folder that exists, for a log of each worker.
        restarts: how often all may be started again.
        tell: prints a line.
        stdout: where the first worker's stdout goes, if not to this process's.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        directory: Path,
        logs: Path,
        restarts: int,
        tell: Callable[[str], None],
        stdout: IO[bytes] | None = None,
    ):
        self.command, self.count, self.directory, self.logs = command, count, directory, logs
        self.restarts, self.tell, self.stdout = restarts, tell, stdout
        self.gpus = gpus.shares(count)
        self.workers: list[Worker] = []
        self.signals: list[int] = []  # that arrived

    def run(self) -> Outcome:
        """Run to the end, or until tries are used up, or until a signal has stopped all.

        Signals are passed on to all workers, which save at the same step; the third one kills them.
        """
        outcome = Outcome()
        with self._passing_signals():
            while True:
                self._start()
                try:
                    found = self._watch()
                finally:
                    self._end()
                if not isinstance(found, Failure):
                    outcome.status = found
                    return outcome
                if found.final or self.signals or len(outcome.restarts) == self.restarts:
                    outcome.failure, outcome.status = found, found.status
                    return outcome
                outcome.restarts.append(found)
                self.tell(
                    f"Worker {found.worker} {found.reason}; all start again from the newest step "
                    f"that all have saved (restart {len(outcome.restarts)} of {self.restarts})"
                )

    def _start(self) -> None:
        begun = config_file(self.directory) and "--resume" not in self.command
        command = [*self.command, *(["--resume"] if begun else [])]
        addresses = free_addresses(self.count)
        self.workers = []
        for number in range(self.count):
            more = {workers.TIMEOUT: f"{MEET:g}"} | self.gpus[number]
            more[workers.LAUNCHER] = f"tfresnet launch -n {self.count} --"
            log, shown = self.logs / f"worker{number}.log", number == 0
            self.workers.append(Worker(command, addresses, number, log, more, shown, self.stdout))

    def _watch(self) -> int | Failure:
        """Return how the workers ended: the exit status, or the first that failed."""
        while any(worker.status() is None for worker in self.workers):
            if failed := self._failed():
                return self._explained(failed)
            time.sleep(POLL)
        failed = self._failed()
        if failed:
            return self._explained(failed)
        stopped = [s for worker in self.workers if (s := worker.status())]
        return abs(stopped[0]) + (128 if stopped[0] < 0 else 0) if stopped else 0

    def _failed(self) -> list[Worker]:
        """Return the workers that have ended, but neither well nor by a signal to stop."""
        return [w for w in self.workers if w.status() and not self._stopped(w.status())]

    def _stopped(self, status: int | None) -> bool:
        """Tell whether an exit status is that of a run that a signal has stopped."""
        numbers = {int(getattr(signal, name)) for name in STOPS if hasattr(signal, name)}
        if status is not None and status < 0:  # before the run could handle it
            return -status in self.signals
        return status is not None and status - 128 in numbers

    def _explained(self, failed: list[Worker]) -> Failure:
        """Return the cause of a failure: the worker that the others miss, or that hangs."""
        causes = [worker for worker in failed if not worker.blames_another()]
        if causes:
            # One that a signal killed comes before those that end because of it.
            return self._failure(min(causes, key=lambda w: w.status() or 0))
        # All have noticed the loss at about the same time, and end; one that hangs does not.
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            if causes := [w for w in self._failed() if not w.blames_another()]:
                return self._failure(min(causes, key=lambda w: w.status() or 0))
            if not (left := [w for w in self.workers if w.status() is None]):
                return self._failure(failed[0])
            time.sleep(POLL)
        return self._failure(left[0])

    def _failure(self, worker: Worker) -> Failure:
        status = worker.status()
        if status is None:
            reason, status = "does not answer and was ended", 128 + signal.SIGKILL
        else:
            reason = ending(status)
        final = status == USAGE and not worker.blames_another()
        if status < 0:
            status = 128 - status
        return Failure(worker.number, reason, status, worker.log, worker.tail(), final)

    def _end(self) -> None:
        """End the workers that still run: without one of them the others can't even save."""
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.close()

    @contextlib.contextmanager
    def _passing_signals(self) -> Iterator[None]:
        def pass_on(number: int, _: object) -> None:
            self.signals.append(number)
            for worker in self.workers:
                worker.send(number if len(self.signals) < 3 else signal.SIGKILL)

        before = {}
        for name in STOPS:
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, pass_on)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
