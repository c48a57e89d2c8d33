"""What a pipeline has done: ``pipeline.json`` in the run directory."""

import json
from pathlib import Path
from typing import Any

from tfresnet.system.files import read_json, write_text

STATE = "pipeline.json"


class State:
    """What ``pipeline.json`` holds.

    Attributes:
        file: its path.
        digests: of each stage that was begun.
        results: of each stage that is finished.
        bundles: folders that were written.
        run: the digest of the training that the run directory holds; empty if it holds none.
    """

    def __init__(self, directory: Path):
        self.file = directory / STATE
        values = read_json(self.file) if self.file.exists() else {}
        self.digests: dict[str, str] = values.get("digests", {})
        self.results: dict[str, dict[str, Any]] = values.get("results", {})
        self.bundles: list[str] = values.get("bundles", [])
        self.run: str = values.get("run", "")

    def result(self, stage: str, digest: str) -> dict[str, Any] | None:
        """Return the result of a finished stage; None if there is none with these settings."""
        return self.results.get(stage) if self.digests.get(stage) == digest else None

    def begin(self, stage: str, digest: str) -> None:
        """Note that a stage begins."""
        self.digests[stage] = digest
        self.results.pop(stage, None)

    def begin_run(self) -> None:
        """Note that the training begins, or goes on."""
        self.run = self.digests["train"]
        self._write()

    def finish(self, stage: str, result: dict[str, Any]) -> None:
        """Note what a stage came to."""
        self.results[stage] = result
        self._write()

    def _write(self) -> None:
        keys = ("digests", "results", "bundles", "run")
        write_text(self.file, json.dumps({key: getattr(self, key) for key in keys}, indent=1))
