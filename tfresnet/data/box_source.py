"""Load folders of pictures with boxes as data sets of detection."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tfresnet.config.sections import DataConfig
from tfresnet.data import box_split, boxes, class_file, duplicates, holdout, label_table
from tfresnet.data.box_marks import Annotated
from tfresnet.data.class_file import Classes
from tfresnet.data.dataset import Dataset, input_spec
from tfresnet.data.splits import in_memory
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import DETECTION, OutputSpec
from tfresnet.system.files import expanded


def load(
    root: Path,
    config: DataConfig,
    default_size: int | tuple[int, int],
    labels: tuple[str, ...] = (),
) -> Dataset:
    """Return the data set in a folder, see ``boxes``.

    Args:
        root: the folder.
        config: the data section; ``labels`` is a file with the names of the classes in the order to
            use; ``train_split`` and ``eval_split`` are names of the folder's parts.
        default_size: see :func:`tfresnet.data.sources.load`.
        labels: of an earlier run.

    Raises:
        InputError: something is wrong with the folder.
    """
    named = class_file.read(expanded(config.labels), 1) if config.labels else Classes(())
    found = scan(root, config, labels or named.labels)
    train, held_out = found.train, found.held_out
    if held_out is None:
        train, held_out = _divided(root, found.train, config)
    train, left_out = _without_duplicates(root, train, held_out)
    spec = input_spec(config, default_size, DETECTION)
    output = OutputSpec(DETECTION, found.labels, colors=named.colors)
    ours, theirs = (
        box_split.of_files(part, spec, in_memory(config.cache, len(part), spec))
        for part in (train, held_out)
    )
    return Dataset(ours, theirs, spec, output, (*found.notes, *left_out))


def scan(root: Path, config: DataConfig, labels: Sequence[str] = ()) -> boxes.Scan:
    """Return the pictures of a folder with the configured parts; see :func:`.boxes.scan`."""
    return boxes.scan(root, labels, config.skip_broken, config.train_split, config.eval_split)


def _divided(
    root: Path, pictures: Sequence[Annotated], config: DataConfig
) -> tuple[list[Annotated], list[Annotated]]:
    """Hold out a share of the pictures, of each of those with the same rarest class."""
    if len(pictures) < 2:
        raise InputError(
            f"{root}: expected at least 2 pictures, one to hold out, got {len(pictures)}"
        )
    names = [str(picture.path.relative_to(root)) for picture in pictures]
    rarest = label_table.rarest_labels([sorted({*picture.classes}) for picture in pictures])
    if max(Counter(rarest).values()) < 2:
        rarest = [0] * len(rarest)
    kept, held_out = holdout.of_files(names, rarest, config, lone=True)
    return [pictures[i] for i in kept], [pictures[i] for i in held_out]


def _without_duplicates(
    root: Path, train: Sequence[Annotated], held_out: Sequence[Annotated]
) -> tuple[list[Annotated], list[str]]:
    ours, theirs = (([p.path for p in part], [*range(len(part))]) for part in (train, held_out))
    (_, kept), notes = duplicates.without_duplicates(ours, theirs, ())
    if not kept:
        raise InputError(f"{root}: expected pictures to train on that are not held out, got none")
    return [train[i] for i in kept], notes
