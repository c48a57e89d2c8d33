"""What the number is called that a model is judged by, and where it is; loads no TensorFlow."""

from collections.abc import Mapping
from typing import Any

# The words and numbers of an epoch's record that its line has.
EPOCHS = {
    "top1": "train {accuracy:.2%}  held-out {held_out_top1:.2%}",
    "map": "exact match {exact_match:.2%}  held-out mAP {held_out_map:.2%}",
}
HEADINGS = {"top1": "top-1", "map": "mAP"}  # of one class an image, of any number of labels


def judged_by(record: Mapping[str, Any], prefix: str = "") -> tuple[str, float]:
    """Return the heading and the value, a fraction of 1, of what a record has: top-1 or mAP.

    Args:
        record: has ``top1``, or ``map`` where that is missing or None.
        prefix: what stands before the keys: ``checkpoint_``.
    """
    key = "top1" if record.get(f"{prefix}top1") is not None else "map"
    return HEADINGS[key], record[f"{prefix}{key}"]
