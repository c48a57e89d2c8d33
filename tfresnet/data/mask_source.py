"""Load folders of images and masks as data sets of segmentation."""

from pathlib import Path

from tfresnet.config.sections import DataConfig
from tfresnet.data import duplicates, holdout, mask_folder
from tfresnet.data.dataset import Dataset, input_spec
from tfresnet.data.folder import Files
from tfresnet.data.mask_splits import MaskFileSplit
from tfresnet.data.splits import in_memory
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import SEGMENTATION, InputSpec, OutputSpec
from tfresnet.system.files import expanded


def load(root: Path, config: DataConfig, default_size: int | tuple[int, int]) -> Dataset:
    """Return the data set in a folder, see ``mask_folder``.

    Args:
        root: the folder.
        config: the data section; ``labels`` is a file to read instead of ``classes.txt``.
        default_size: see :func:`tfresnet.data.sources.load`.

    Raises:
        InputError: something is wrong with the folder.
    """
    labels = expanded(config.labels) if config.labels else None
    found = mask_folder.scan(
        root, labels, config.skip_broken, config.train_split, config.eval_split
    )
    found = mask_folder.check(found, config.skip_broken)
    spec = input_spec(config, default_size, SEGMENTATION)
    train, held_out = found.train, found.held_out or ([], [])
    if not found.held_out:
        train, held_out = _divided(root, found.train, config)
    train, left_out = duplicates.without_duplicates(train, held_out, ())
    if not train[0]:
        raise InputError(f"{root}: expected images to train on that are not held out, got none")
    output = OutputSpec(SEGMENTATION, found.classes.labels, colors=found.classes.colors)
    ours, theirs = (_split(part, spec, config) for part in (train, held_out))
    return Dataset(ours, theirs, spec, output, (*found.notes, *left_out))


def _divided(root: Path, files: Files, config: DataConfig) -> tuple[Files, Files]:
    """Hold out a share of the images."""
    paths, masks = files
    if len(paths) < 2:
        raise InputError(f"{root}: expected at least 2 images, one to hold out, got {len(paths)}")
    names = [str(path.relative_to(root)) for path in paths]
    kept, held_out = (
        ([paths[i] for i in part], [masks[i] for i in part])
        for part in holdout.of_files(names, [0] * len(names), config)
    )
    return kept, held_out


def _split(files: Files, spec: InputSpec, config: DataConfig) -> MaskFileSplit:
    paths, masks = files
    keep = in_memory(config.cache, len(paths), spec)
    return MaskFileSplit([str(path) for path in paths], masks, spec, keep)
