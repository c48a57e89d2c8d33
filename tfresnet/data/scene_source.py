"""Load scenes of handwritten digits as a data set of segmentation or of detection."""

import numpy as np
from PIL import Image

from tfresnet.config.sections import DataConfig
from tfresnet.data import digit_scenes, digits, holdout, masks
from tfresnet.data.box_split import BoxSplit
from tfresnet.data.dataset import Dataset, input_spec
from tfresnet.data.digit_scenes import LABELS, SCENES, Scenes
from tfresnet.data.lookup import Task
from tfresnet.data.mask_splits import MaskArraySplit
from tfresnet.data.splits import ArraySplit, Split
from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import DETECTION, SEGMENTATION, InputSpec, OutputSpec


def load(config: DataConfig, task: Task | None) -> Dataset:
    """Make the scenes of both splits, see ``digit_scenes``.

    Digits in held-out scenes come from the scans that are held out of the digits, too.

    Args:
        config: the data section; ``split_seed`` also chooses the scenes.
        task: ``segment`` or ``detect``.

    Raises:
        InputError: settings that do not fit the digits or the task.
    """
    scans, classes = digits.load()
    segment = task == "segment"
    output = OutputSpec(SEGMENTATION, LABELS) if segment else OutputSpec(DETECTION, digits.LABELS)
    spec = input_spec(config, digit_scenes.SIDE, output.task)
    parts = zip(SCENES.values(), holdout.of_classes(classes, config), strict=True)
    train, held_out = (
        _split(
            digit_scenes.make(
                scans[chosen, :, :, 0], classes[chosen], count, (config.split_seed, i)
            ),
            spec,
            segment,
        )
        for i, (count, chosen) in enumerate(parts)
    )
    return Dataset(train, held_out, spec, output)


def _split(scenes: Scenes, spec: InputSpec, segment: bool) -> Split:
    images = np.stack([fit(Image.fromarray(image), spec) for image in scenes.images])
    if segment:
        found = [masks.fit(Image.fromarray(mask), spec) for mask in scenes.masks]
        return MaskArraySplit(images, np.stack(found))
    truth = {
        "boxes": scenes.boxes,
        "classes": scenes.classes,
        "ignored": np.zeros(scenes.classes.shape, bool),
    }
    return BoxSplit(ArraySplit(images, np.arange(len(images))), truth)
