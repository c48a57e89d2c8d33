"""Find the smallest file within a budget of accuracy, size and time (``export --auto``).

Candidates are tried one after the other. Which one is next depends on the limits that the earlier
ones exceeded (``candidates``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from tfresnet.deploy.budget import Budget, judge, nearest
from tfresnet.deploy.candidate_files import CandidateFiles
from tfresnet.deploy.candidates import Candidate, next_candidate, next_for_microcontroller
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.measure import MeasuredFile
from tfresnet.deploy.records import TriedRecord
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.errors import InputError


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        files: those that were made.
        tried: the candidates, in order.
        chosen: path of the file within the budget; None if there is none.
        nearest: path of the file that misses the budget by least; None if one is within it.
    """

    files: list[MeasuredFile]
    tried: list[TriedRecord]
    chosen: str | None
    nearest: str | None = None


def search(
    context: ExportContext, budget: Budget, qat_epochs: int, progress: Callable[[str], None]
) -> SearchResult:
    """Try one candidate after the other until a file is within the budget.

    The drop that decides is measured on the context's ``selection``, training images that were not
    used for anything else in this export. A file that is within the budget there must be so on the
    held-out images too; otherwise that is reported and the search goes on.

    Args:
        context: the run, its data and the checkpoint's predictions.
        budget: the limits.
        qat_epochs: epochs of quantization-aware training, for candidates that need it.
        progress: called with the name of each candidate before it is made.

    Raises:
        InputError: no candidate's file can be made.
    """
    made: list[MeasuredFile] = []
    tried: list[TriedRecord] = []
    exceeded: dict[Candidate, set[str]] = {}
    files = CandidateFiles(context, budget, qat_epochs)
    following = next_for_microcontroller if budget.for_microcontroller else next_candidate
    while candidate := following(exceeded):
        name = candidate.name(qat_epochs)
        progress(name)
        try:
            file = files.make(candidate)
        except InputError as error:
            tried.append(TriedRecord(rung=name, path=None, misses=[str(error)]))
            exceeded[candidate] = {"drop"}
            continue
        made.append(file)
        limits, misses = judge(file.record, budget)
        tried.append(_tried(name, file.record, misses))
        if not misses:
            return SearchResult(made, tried, file.record.path)
        # A failed check counts as a loss of accuracy: the same candidates may help.
        exceeded[candidate] = limits or {"drop"}
    if not made:
        raise InputError(tried[0].misses[0])
    closest = nearest([file.record for file in made], budget)
    return SearchResult(made, tried, None, closest.path if closest else None)


def _tried(name: str, record: ArtifactRecord, misses: list[str]) -> TriedRecord:
    return TriedRecord(
        rung=name,
        path=record.path,
        misses=misses,
        bytes=record.bytes,
        drop=record.selection.drop if record.selection else record.drop,
        latency_ms=record.latency_ms,
    )
