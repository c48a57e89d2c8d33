"""Choose which parts of a folder are trained on, and which is held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.data.folder import HELD_OUT, TRAIN, part_name
from tfresnet.runtime.errors import InputError

KEYS = ("data.train_split", "data.eval_split")
DEFAULTS = ("train", "test")
TRAINING = (*TRAIN, "trainval")
VALIDATION = tuple(name for name in HELD_OUT if "test" not in name)
# Where there is a test part it is held out, unlike in folders of classes.
HELD_OUT_FIRST = (*(name for name in HELD_OUT if "test" in name), *VALIDATION)


@dataclass(frozen=True)
class ChosenParts:
    """Names of the parts of a folder that are used.

    Attributes:
        train: to train on.
        held_out: to evaluate on; empty where a share of the others is to be held out.
        notes: lines for a person: which parts were taken, if some are not used.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose(
    root: Path, names: Sequence[str], train: str = "train", held_out: str = "test"
) -> ChosenParts:
    """Return the parts to train on and to hold out.

    Args:
        root: the folder.
        names: of all its parts; a single one, ``""``, if there are none.
        train: the part to train on, or several as in ``train+val``; ``train`` also stands for its
            usual synonyms.
        held_out: the same of those to hold out; ``test`` also stands for its synonyms, and for
            those of ``val`` if there is none.

    Raises:
        InputError: there is no such part, or one is both.
    """
    if [*names] == [""]:
        for key, wanted, default in zip(KEYS, (train, held_out), DEFAULTS, strict=True):
            if wanted != default:
                raise InputError(f"{key}: expected no part of {root}, which has none, got {wanted}")
        return ChosenParts(("",), ())
    ours = _named(names, KEYS[0], train, DEFAULTS[0], TRAINING)
    theirs = _named(names, KEYS[1], held_out, DEFAULTS[1], HELD_OUT_FIRST)
    if not ours:
        raise InputError(
            f"expected pictures to train on in {root}, a part train, got only {', '.join(names)}"
        )
    if both := [name for name in ours if name in theirs]:
        if held_out != DEFAULTS[1] or held_out in both:
            raise InputError(f"{KEYS[1]}: expected another part than {both[0]}, got the same")
        theirs = ()  # what usually stands in for a test part is trained on
    unused = ", ".join(name for name in names if name not in (*ours, *theirs))
    told = f"pictures to train on are those of {'+'.join(ours)}, held-out ones " + (
        f"those of {'+'.join(theirs)}" if theirs else "a share of them"
    )
    return ChosenParts(ours, theirs, (f"{told}; not used: {unused}",) if unused else ())


def _named(
    names: Sequence[str], key: str, wanted: str, default: str, synonyms: Sequence[str]
) -> tuple[str, ...]:
    """Return the parts called ``wanted``, or that by the first synonym of the default."""
    chosen = tuple(dict.fromkeys(word.strip() for word in wanted.split("+")))
    missing = [name for name in chosen if name not in names]
    if not missing:
        return chosen
    if wanted != default:
        raise InputError(f"{key}: expected one of {', '.join(names)}, got {missing[0]}")
    usual = {part_name(Path(name)) or name: name for name in names}
    return next(((usual[synonym],) for synonym in synonyms if synonym in usual), ())
