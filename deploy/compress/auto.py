"""The cheapest quantization that meets a budget: what is tried next depends on what was missed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tfresnet.deploy.compress import qat
from tfresnet.deploy.formats import artifact, recipes, tflite
from tfresnet.deploy.plan import Target
from tfresnet.deploy.report import inspect
from tfresnet.deploy.workshop import Workshop
from tfresnet.runtime.errors import InputError

EXAMINED = 50  # calibration images that find the layers to blame
SIZES = ("int8", "int4_mixed", "int4")  # ever smaller, and they lose ever more
LEFT_IN_FLOAT = (1, 2, 4)
SELECTIVE = "int8_selective"
HELD_OUT = "on the held-out images: "
BUDGETS = ("drop", "bytes", "latency_ms")


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

    def misses(self, record: Mapping) -> list[str]:
        """Return what of a measured file is over the budget, as ``drop 0.41 > 0.3``."""
        limits = zip(BUDGETS, (self.max_drop, self.max_bytes, self.max_latency), strict=True)
        return [
            f"{key} {record[key]:.6g} > {limit:g}"
            for key, limit in limits
            if limit is not None and not record[key] <= limit
        ]


@dataclass(frozen=True)
class Candidate:
    """One way to make a file.

    Attributes:
        kind: how it is quantized, one of ``SIZES``, or ``float32``.
        in_float: the layers that lose most and are left in float.
        trained: whether the network is trained for it.
    """

    kind: str
    in_float: int = 0
    trained: bool = False

    def name(self, epochs: int) -> str:
        """Return what people read; ``epochs`` are those of training."""
        if self.trained:
            return f"{self.kind} after {epochs} epochs of training for it"
        return (
            f"{self.kind} but for the {self.in_float} worst layers" if self.in_float else self.kind
        )


def following(missed: Mapping[Candidate, set[str]]) -> Candidate | None:
    """Return what to try next; None if nothing is left that could help.

    Args:
        missed: of every candidate so far, which of ``BUDGETS`` it missed; at least one.

    What is too large is made smaller, with fewer bits. Of the first size that fits, what lost too
    much gets layers in float while there is room for them, and then training. Integers too slow
    for this processor leave float32.
    """
    for kind in SIZES:
        plain = Candidate(kind)
        if plain not in missed:
            return plain
        if "bytes" not in missed[plain]:
            break
    else:
        return None
    if "latency_ms" in missed[plain]:
        return next((c for c in [Candidate("float32")] if c not in missed), None)
    if kind == "int8":
        for count in LEFT_IN_FLOAT:
            selective = Candidate(kind, in_float=count)
            if selective not in missed:
                return selective
            if missed[selective] & {"bytes", "latency_ms"}:
                break  # with more layers in float it would be larger and slower still
    trained = Candidate(kind, trained=True)
    return None if trained in missed else trained


class Maker:
    """Makes and measures the files of one run."""

    def __init__(self, workshop: Workshop, qat_epochs: int):
        self.workshop, self.qat_epochs = workshop, qat_epochs

    def make(self, candidate: Candidate) -> dict:
        """Return what the report says about a candidate's file.

        Raises:
            InputError: this network can't be had that way.
        """
        if candidate.trained:
            return self._trained(candidate.kind)
        if candidate.in_float:
            return self._selective(candidate.in_float)
        if candidate.kind == "float32" and self.workshop.options.interface == "integer":
            raise InputError("float32: expected another --interface than integer")
        return self.workshop.make(self.workshop.model, Target("tflite", candidate.kind))

    def _selective(self, count: int) -> dict:
        shop, interface = self.workshop, self.workshop.options.interface
        recipe = recipes.Recipe(keep_float=tuple(self.sensitive_layers[:count]))
        content = tflite.quantize_static(
            shop.model, shop.run.spec, recipe, shop.calibration.images, interface,
            shop.options.batch_of("tflite"),
        )  # fmt: skip
        target = Target("tflite", SELECTIVE, f"_{count}")
        path = shop.directory / target.name
        made = artifact.tflite_file(path, content, shop.model, shop.run.spec, interface)
        return shop.finish(made, target, shop.model)

    def _trained(self, kind: str) -> dict:
        shop, recipe = self.workshop, recipes.RECIPES[kind]
        suffix = "" if kind == "int8" else f"_{kind}"
        aware = qat.train(
            shop.tuned, shop.dataset, self.qat_epochs, shop.directory / f"auto_qat{suffix}",
            bits=(recipe.weights, recipe.edges or recipe.weights),
        )  # fmt: skip
        # tfmot's fake quantization is converted to int8 only: of others, the weights are taken.
        network = aware if kind == "int8" else qat.without_fake_quantization(aware, shop.model)
        return shop.make(network, Target("tflite", kind, "_qat"))

    @cached_property
    def sensitive_layers(self) -> list[str]:
        """The outputs of the layers where quantization adds most noise, worst first."""
        shop = self.workshop
        images, spec = shop.calibration.images, shop.run.spec
        quantized = tflite.quantize_static(shop.model, spec, recipes.Recipe(), images, "float")
        floating = tflite.convert(shop.model, spec, "float32", interface="float")
        errors = inspect.layer_errors(quantized, floating, images[:EXAMINED])
        return [error.tensor for error in inspect.worst(errors)]


def search(
    workshop: Workshop, budget: Budget, qat_epochs: int, progress: Callable[[str], None]
) -> tuple[list[dict], list[dict], str | None]:
    """Try one candidate after the other until a file meets the budget.

    The drop that decides is that on the workshop's ``selection``, training images that nothing was
    set or trained with here. What is within the budget there must be so on the held-out images too;
    if it is not, that is said, and the search goes on.

    Returns:
        The measured files; the ladder, as ``rung path misses`` of each candidate (no path: there is
        no file); and the path of the file that meets the budget, None if none does.

    Raises:
        InputError: no file can be made at all.
    """
    records: list[dict] = []
    ladder: list[dict] = []
    missed: dict[Candidate, set[str]] = {}
    maker = Maker(workshop, qat_epochs)
    while candidate := following(missed):
        name = candidate.name(qat_epochs)
        progress(name)
        try:
            record = maker.make(candidate)
        except InputError as error:  # this network can't be had this way
            ladder.append({"rung": name, "path": None, "misses": [str(error)]})
            missed[candidate] = {"drop"}
            continue
        records.append(record)
        over, misses = judge(record, budget)
        ladder.append({"rung": name, "path": record["path"], "misses": misses})
        if not misses:
            return records, ladder, record["path"]
        # What fails a check is as if it had lost too much: the same may help.
        missed[candidate] = over or {"drop"}
    if not records:
        raise InputError(ladder[0]["misses"][0])
    return records, ladder, None


def judge(record: dict, budget: Budget) -> tuple[set[str], list[str]]:
    """Return which of ``BUDGETS`` a measured file misses, and all that speaks against it."""
    selection = record["selection"]
    over = budget.misses(record | {"drop": selection["drop"]})
    if misses := over or selection["failures"]:
        return {miss.split()[0] for miss in over}, misses
    over = budget.misses(record)
    return {miss.split()[0] for miss in over}, [
        f"{HELD_OUT}{miss}" for miss in over or record["failures"]
    ]
