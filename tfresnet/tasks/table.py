"""The table of tasks."""

from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, MULTI_LABEL, POINTS, SEGMENTATION
from tfresnet.tasks.base import Task
from tfresnet.tasks.classification import Classification
from tfresnet.tasks.detection import Detection
from tfresnet.tasks.multi_label import MultiLabel
from tfresnet.tasks.points import Points
from tfresnet.tasks.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {
    CLASSIFICATION: Classification,
    MULTI_LABEL: MultiLabel,
    SEGMENTATION: Segmentation,
    DETECTION: Detection,
    POINTS: Points,
}
