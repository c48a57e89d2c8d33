"""Find the architecture that weights are of, by their names and shapes."""

from collections.abc import Iterable
from pathlib import Path

from tfresnet.config import loading
from tfresnet.models import names, pretrained, structure, zoo
from tfresnet.runtime.errors import InputError

SIZE = 32  # pixels of the images of networks that are only compared; no weights depend on it


def find(path: Path, arrays: pretrained.Arrays, library: str, overrides: Iterable[str] = ()) -> str:
    """Return the name of the one architecture whose weights these can be.

    Args:
        path: of the file, for messages.
        arrays: its weights.
        library: ``torch`` or ``keras``.
        overrides: ``model.key=value``, which all are tried with.

    Raises:
        InputError: none fits, or several do.
    """
    alike = {
        arch: convention
        for arch, row in zoo.ARCHITECTURES.items()
        if (convention := _convention(library, arch, row)) and _is_alike(arrays, convention, row)
    }
    if len(alike) == 1:
        return next(iter(alike))  # whether its shapes fit, loading tells in more detail
    fitting = [arch for arch in alike if _fits(arch, arrays, alike[arch], overrides)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"{path} fits {', '.join(fitting)}: choose one with --arch")
    nearest = f"{', '.join(alike)} are as deep, but of other shapes" if alike else _found(arrays)
    raise InputError(
        f"{path}: expected weights of an architecture that tfresnet models lists, {nearest}; with "
        "--arch NAME it is said what does not fit"
    )


def _convention(library: str, arch: str, row: zoo.Row) -> names.Convention | None:
    if library == "keras" and arch not in names.KERAS_APPLICATIONS:
        return None
    return names.CONVENTIONS.get((library, row.family))


def _is_alike(arrays: pretrained.Arrays, convention: names.Convention, row: zoo.Row) -> bool:
    """Return whether the stem, and the number of blocks and of their layers, are a row's."""
    if not convention.found(arrays, "stem_conv"):
        return False
    depths = getattr(row, "depths", None)
    if depths is None:
        return True
    style = getattr(row, "style", None)
    third = convention.found(arrays, "stage1_block1_conv3") is not None
    bottleneck = style is not None and style.block == "bottleneck"
    return structure.depths(arrays, convention) == depths and third == bottleneck


def _fits(
    arch: str,
    arrays: pretrained.Arrays,
    convention: names.Convention,
    overrides: Iterable[str],
) -> bool:
    row = zoo.architecture(arch)
    found = structure.settings(arrays, convention, row)
    config = loading.from_overrides([f"model.arch={arch}", *found, *overrides]).model
    shape = (SIZE, SIZE, 3)
    try:
        model = zoo.shortest(config, shape, 2)
    except InputError:
        return False  # an option that it does not have
    fit = pretrained.fit(model, shape, arrays, convention, with_head=False)
    further = fit.unexpected if row.shortest() == row else []  # else the blocks that it leaves out
    return not (fit.missing or fit.misfits or further)


def _found(arrays: pretrained.Arrays) -> str:
    some = ", ".join(list(arrays)[:3])
    depths = max(
        (structure.depths(arrays, convention) for convention in names.CONVENTIONS.values()), key=len
    )
    blocks = f" in stages of {', '.join(map(str, depths))} blocks" if depths else ""
    return f"got {len(arrays)} arrays{blocks} ({some}, ...)"
