"""Train, export, check boards and bundle, as one file says; what is done and unchanged is skipped.

What each stage came to is in ``pipeline.json`` in the run directory, with a digest of its settings
and of those of the stages before it. Loads no TensorFlow where nothing is left to do.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tfresnet.deploy import pipeline_stages
from tfresnet.deploy.pipeline_plan import Plan
from tfresnet.deploy.pipeline_stages import Progress
from tfresnet.deploy.pipeline_state import State


@dataclass(frozen=True)
class StageResult:
    """What a stage came to.

    Attributes:
        name: ``train``, ``export``, ``fit`` or ``bundle``.
        skipped: whether it was done before.
        result: what it gives, as JSON types.
        failures: the gates that it failed, in words.
    """

    name: str
    skipped: bool
    result: dict[str, Any]
    failures: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {"skipped": self.skipped, "failures": self.failures, "result": self.result}


def run(
    plan: Plan,
    progress: Progress = lambda stage, done, total: None,
    tell: Callable[[StageResult], None] = lambda result: None,
) -> list[StageResult]:
    """Do what is left to do of a plan; stop at the first stage that fails a gate.

    Args:
        plan: what to do.
        progress: is told what is being done.
        tell: is told what each stage came to.

    Raises:
        InputError: a stage can't be done.
    """
    state, digest, found = State(plan.directory), "", []
    for stage in pipeline_stages.of_plan(plan, state):
        digest = _digest([stage.name, stage.settings, digest])
        known = state.result(stage.name, digest)
        skipped = known is not None and stage.is_complete(known)
        if not skipped:
            state.begin(stage.name, digest)
            progress(stage.name, 0, None)
            known = stage.do(progress)
            state.finish(stage.name, known)
        assert known is not None
        found.append(StageResult(stage.name, skipped, known, stage.failures(known)))
        tell(found[-1])
        if found[-1].failures:
            break
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
