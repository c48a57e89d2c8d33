"""The limits of ``export --auto``, and whether a measured file keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfresnet.runs.result import ArtifactRecord, MicrocontrollerRecord, SelectionRecord

HELD_OUT = "on the held-out images: "
ON_BOARDS = ("flash", "ram")
LIMITS = ("drop", "bytes", "latency_ms", *ON_BOARDS)


@dataclass(frozen=True)
class Budget:
    """The limits that a file must keep.

    Attributes:
        max_drop: largest loss of the primary metric against the checkpoint, in percentage points.
        max_bytes: largest size of the file; None for any.
        max_latency: longest time for one image on one thread of this machine, in milliseconds;
            None for any.
        max_flash: most bytes of a microcontroller's flash, with the code; None for any.
        max_ram: most bytes of its memory; None for any.
    """

    max_drop: float
    max_bytes: int | None = None
    max_latency: float | None = None
    max_flash: int | None = None
    max_ram: int | None = None

    @property
    def for_microcontroller(self) -> bool:
        """Whether the file is for a microcontroller."""
        return self.max_flash is not None

    def exceeded(self, record: ArtifactRecord) -> dict[str, str]:
        """Return the limits that a measured file exceeds.

        Keys are among ``LIMITS``; values say by how much, as ``drop 0.41 > 0.3``.
        """
        board = record.microcontroller or MicrocontrollerRecord()
        limits = (self.max_drop, self.max_bytes, self.max_latency, self.max_flash, self.max_ram)
        values = (
            record.drop, record.bytes, record.latency_ms, board.flash_bytes, board.ram_bytes,
        )  # fmt: skip
        return {
            key: _miss(key, value, limit)
            for key, value, limit in zip(LIMITS, values, limits, strict=True)
            if limit is not None and not value <= limit  # also if it is not a number
        }

    def excess(self, record: ArtifactRecord) -> tuple[float, float]:
        """Return how far a file is from the budget, to find the nearest one by.

        The first number is by what share it exceeds size and time, whichever is more; the second,
        by how many points it exceeds the drop on the images that files are chosen on.
        """
        board = record.microcontroller or MicrocontrollerRecord()
        limits = (
            (record.bytes, self.max_bytes), (record.latency_ms, self.max_latency),
            (board.flash_bytes, self.max_flash), (board.ram_bytes, self.max_ram),
        )  # fmt: skip
        shares = [max(0.0, value / limit - 1) for value, limit in limits if limit]
        drop = record.selection.drop if record.selection else record.drop
        return max(shares, default=0.0), max(0.0, drop - self.max_drop)


def _miss(key: str, value: float, limit: float) -> str:
    if key in ON_BOARDS:
        return f"{key} {value / 1024:,.0f} KiB > {limit / 1024:,.0f} KiB"
    return f"{key} {value:.6g} > {limit:g}"


def judge(record: ArtifactRecord, budget: Budget) -> tuple[set[str], list[str]]:
    """Return the limits that a measured file exceeds and all reasons why it can't be chosen."""
    selection = record.selection or SelectionRecord()
    exceeded = budget.exceeded(record.model_copy(update={"drop": selection.drop}))
    if misses := list(exceeded.values()) or selection.failures:
        return set(exceeded), misses
    exceeded = budget.exceeded(record)
    misses = list(exceeded.values()) or record.failures
    return set(exceeded), [f"{HELD_OUT}{miss}" for miss in misses]


def nearest(records: Sequence[ArtifactRecord], budget: Budget) -> ArtifactRecord | None:
    """Return the file that misses the budget by least; None if there is none.

    Size and time come first, since no training brings them back.
    """
    return min(records, key=budget.excess, default=None)
