"""The arithmetic of a training in PFLOP: a unit that no machine changes."""

from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline
from tfresnet.keras2 import keras
from tfresnet.models import functional
from tfresnet.runtime.spec import InputSpec

PETA = 1e15
DIGITS = 4  # of what is recorded
PER_MULTIPLY_ADD = 2  # floating-point operations
PASSES = 3  # forward, and backward to the images and to the kernels
TEACHERS_PASSES = 1  # forward only


def petaflop(
    config: RunConfig,
    spec: InputSpec,
    steps_per_epoch: int,
    model: keras.Model,
    teacher: keras.Model | None = None,
    steps: int | None = None,
) -> float:
    """Return the arithmetic of a training, in 10^15 floating-point operations, to four digits.

    Twice the multiply-adds of convolutions and dense layers, three times for a pass forward and
    backward, for every image that is seen, at its size; a teacher's forward pass is added. So
    published budgets count, too (https://arxiv.org/abs/2404.00498). Frozen layers count as if they
    were trained; evaluations and the optimizer's own arithmetic do not count (that of Muon is 3 %
    of a step of ``cifar10-resnet9-fast``).

    Args:
        config: of the run.
        spec: its images at their full size.
        steps_per_epoch: steps in an epoch.
        model: that is trained.
        teacher: whose answers it is to match, if there is one.
        steps: that were trained, if not all.
    """
    segments = pipeline.segments(config.data, config.train.epochs, steps_per_epoch)
    last, done, operations = segments[-1][0] if steps is None else steps, 0, 0
    for end, size in segments:
        height, width = pipeline.scaled(spec, size) if size else (spec.height, spec.width)
        shape = (height, width, spec.shape[2])
        macs = PASSES * functional.macs(model, shape)
        if teacher is not None:
            macs += TEACHERS_PASSES * functional.macs(teacher, shape)
        images = max(0, min(end, last) - done) * config.train.batch_size
        operations += PER_MULTIPLY_ADD * macs * images
        done = end
    return float(f"{operations / PETA:.{DIGITS}g}")
