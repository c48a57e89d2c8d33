"""What differs between the tasks of a network: head, targets, loss, metrics, and words.

A task is one file here, a row of ``table.TASKS``, and its headings; its name in ``runtime.spec``,
its decoder in ``runtime.decode``, and a source of its targets in ``data.sources``.
"""

from typing import TYPE_CHECKING

from tfresnet.runtime.spec import OutputSpec

if TYPE_CHECKING:
    from tfresnet.tasks.base import Task


def of(output: OutputSpec) -> "Task":
    """Return the task of a model with these outputs; loads TensorFlow."""
    from tfresnet.tasks.table import TASKS

    return TASKS[output.task](output)
