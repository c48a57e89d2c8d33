"""The cheapest quantisation that meets a budget: a ladder from integers throughout to training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from tfresnet.deploy.compress import qat
from tfresnet.deploy.formats import artifact, recipes, tflite
from tfresnet.deploy.plan import Target
from tfresnet.deploy.proof import inspect
from tfresnet.deploy.workshop import Workshop
from tfresnet.errors import UserError

EXAMINED = 50  # calibration images that find the layers to blame
LEFT_IN_FLOAT = (1, 2, 4)
SELECTIVE = "int8_selective"


@dataclass(frozen=True)
class Budget:
    """What a file may cost.

    Attributes:
        max_drop: of top-1 against the checkpoint, in percentage points.
        max_bytes: of the file; None for any.
        max_latency: of one image on one thread of this machine, in milliseconds; None for any.
    """

    max_drop: float
    max_bytes: int | None = None
    max_latency: float | None = None

    def misses(self, record: dict) -> list[str]:
        """Return what of a measured file is over the budget, as ``drop 0.41 > 0.3``."""
        limits = {
            "drop": self.max_drop,
            "bytes": self.max_bytes,
            "latency_ms": self.max_latency,
        }
        return [
            f"{key} {record[key]:.6g} > {limit:g}"
            for key, limit in limits.items()
            if limit is not None and not record[key] <= limit
        ]


@dataclass(frozen=True)
class Rung:
    """One attempt: what it is called, and what makes and measures its file."""

    name: str
    climb: Callable[[], dict]
    helps: str = "drop"  # it is not worth trying if this is within the budget


class Ladder:
    """The attempts for one run, from the cheapest on."""

    def __init__(self, workshop: Workshop, qat_epochs: int):
        self.workshop, self.qat_epochs = workshop, qat_epochs

    def rungs(self) -> Iterator[Rung]:
        """Yield the attempts in order."""
        for kind in ("int8", "int4_mixed", "int4"):
            helps = "drop" if kind == "int8" else "bytes"
            yield Rung(kind, lambda kind=kind: self._convert(kind), helps)  # type: ignore[misc]
        for count in LEFT_IN_FLOAT:
            name = f"int8 but for the {count} worst layers"
            yield Rung(name, lambda count=count: self._selective(count))  # type: ignore[misc]
        yield Rung(f"int8 after {self.qat_epochs} epochs of training for it", self._trained)

    def _convert(self, kind: str) -> dict:
        return self.workshop.make(self.workshop.model, Target("tflite", kind))

    def _selective(self, count: int) -> dict:
        shop, interface = self.workshop, self.workshop.options.interface
        recipe = recipes.Recipe(keep_float=tuple(self.blamed[:count]))
        content = tflite.quantize_static(
            shop.model, shop.run.spec, recipe, shop.calibration.images, interface,
            shop.options.batch_of("tflite"),
        )  # fmt: skip
        target = Target("tflite", SELECTIVE, f"_{count}")
        path = shop.directory / target.name
        made = artifact.tflite_file(path, content, shop.model, shop.run.spec, interface)
        return shop.finish(made, target, shop.model)

    def _trained(self) -> dict:
        shop = self.workshop
        folder = shop.directory / "qat"
        aware = qat.train(shop.tuned, shop.dataset, self.qat_epochs, folder)
        return shop.make(aware, Target("tflite", "int8", "_qat"))

    @cached_property
    def blamed(self) -> list[str]:
        """The outputs of the layers where quantisation adds most noise, worst first."""
        shop = self.workshop
        images, spec = shop.calibration.images, shop.run.spec
        quantized = tflite.quantize_static(shop.model, spec, recipes.Recipe(), images, "float")
        floating = tflite.convert(shop.model, spec, "float32", interface="float")
        errors = inspect.layer_errors(quantized, floating, images[:EXAMINED])
        return [error.tensor for error in inspect.worst(errors)]


def climb(
    workshop: Workshop, budget: Budget, qat_epochs: int, progress: Callable[[str], None]
) -> tuple[list[dict], list[dict], str | None]:
    """Climb until a file meets the budget.

    Returns:
        The measured files; the ladder, as ``rung path misses`` of each attempt (no path: there is
        no file); and the path of the file that meets the budget, None if none does.

    Raises:
        UserError: no file can be made at all.
    """
    records: list[dict] = []
    ladder: list[dict] = []
    missed = {"drop"}
    for rung in Ladder(workshop, qat_epochs).rungs():
        if rung.helps not in missed:
            continue
        progress(rung.name)
        try:
            record = rung.climb()
        except UserError as error:  # this network can't be had this way
            ladder.append({"rung": rung.name, "path": None, "misses": [str(error)]})
            continue
        over = budget.misses(record)
        # What fails a check is as if it had lost too much: the same may help.
        missed = {miss.split()[0] for miss in over} or {"drop"}
        records.append(record)
        misses = over or record["failures"]
        ladder.append({"rung": rung.name, "path": record["path"], "misses": misses})
        if not misses:
            return records, ladder, record["path"]
    if not records:
        raise UserError(ladder[0]["misses"][0])
    return records, ladder, None
