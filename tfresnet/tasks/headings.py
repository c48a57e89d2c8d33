"""What the numbers of a task are called, wherever they are shown; loads no TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, MULTI_LABEL, POINTS, SEGMENTATION
from tfresnet.tasks.intervals import shown


@dataclass(frozen=True)
class Headings:
    """The words of a task for its numbers.

    Attributes:
        primary: the key of the number that models are judged by; higher is better.
        heading: what that is called in a table.
        fit: the key, in an epoch's record, of how well the training images are predicted.
        fit_heading: what that is called beside a progress bar.
        axis: what ``fit`` and ``primary`` are called beside their curves.
        epoch: the words and numbers of an epoch's record that its line has, a format.
        classes: from the number of labels to words: ``10 classes``.
        hub_metric: what model hubs call ``primary``.
        hub_task: what model hubs call the task.
        card_labels: what the labels are, in a model card, behind their number.
        card_limits: what a model card says of all models of this task, to end a sentence.
        lines: from a result to the lines that describe it, without those of each class.
        per_class: what the numbers of ``per_class`` are.
        after_training: from a result and its epochs to what is said first after training.
    """

    primary: str
    heading: str
    fit: str
    fit_heading: str
    axis: str
    epoch: str
    classes: str
    hub_metric: str
    lines: Callable[[Mapping[str, Any]], list[str]]
    per_class: str
    after_training: Callable[[Mapping[str, Any], int | None], str]
    hub_task: str = "image-classification"
    card_labels: str = "labels"
    card_limits: str = ""


def _classification_lines(result: Mapping[str, Any]) -> list[str]:
    # Of few classes top-5 says nothing.
    top5 = f"   top-5 {result['top5']:.2%}" if len(result["per_class"]) > 5 else ""
    return [
        f"top-1 {result['top1']:.2%}{top5}   loss {result['loss']:.4f}   ECE {result['ece']:.2%}   "
        f"on {result['n']:,} images",
        f"top-1 is {shown(result['top1_interval'])} % with 95 % confidence; the mean of the "
        f"classes is {result['balanced_accuracy']:.2%}",
    ]


def _multi_label_lines(result: Mapping[str, Any]) -> list[str]:
    interval = result["map_interval"]
    return [
        f"mAP {result['map']:.2%}   F1 {result['micro_f1']:.2%} (mean of the labels "
        f"{result['macro_f1']:.2%})   exact match {result['exact_match']:.2%}   loss "
        f"{result['loss']:.4f}   on {result['n']:,} images",
        f"mAP is {shown(interval)} % with 95 % confidence (bootstrap)"
        if interval
        else "mAP is 0 since no held-out image has a label",
        f"F1 and exact match are of labels with a probability of {result['threshold']:g} or more",
    ]


def _accuracy(result: Mapping[str, Any], epochs: int | None) -> str:
    return (
        f"accuracy {result['top1']:.2%} after {epochs} epochs "
        f"({shown(result['top1_interval'])} % with 95 % confidence; the mean of the classes is "
        f"{result['balanced_accuracy']:.2%})"
    )


def _mean_average_precision(result: Mapping[str, Any], epochs: int | None) -> str:
    return (
        f"mAP {result['map']:.2%} after {epochs} epochs (exact match {result['exact_match']:.2%}, "
        f"F1 {result['micro_f1']:.2%})"
    )


def _segmentation_lines(result: Mapping[str, Any]) -> list[str]:
    return [
        f"mIoU {result['miou']:.2%}   {result['pixel_accuracy']:.2%} of the pixels right   on "
        f"{result['n']:,} images",
        f"mIoU is {shown(result['miou_interval'])} % with 95 % confidence (bootstrap)",
    ]


def _mean_iou(result: Mapping[str, Any], epochs: int | None) -> str:
    return (
        f"mIoU {result['miou']:.2%} after {epochs} epochs ({result['pixel_accuracy']:.2%} of the "
        "pixels right)"
    )


def _detection_lines(result: Mapping[str, Any]) -> list[str]:
    return [
        f"mAP50 {result['map50']:.2%}   mAP {result['map']:.2%} (mean of IoU 0.5 to 0.95)   on "
        f"{result['n']:,} images",
        f"mAP50 is {shown(result['map50_interval'])} % with 95 % confidence (bootstrap)",
    ]


def _average_precision_at_50(result: Mapping[str, Any], epochs: int | None) -> str:
    return f"mAP50 {result['map50']:.2%} after {epochs} epochs (mAP {result['map']:.2%})"


def _points_lines(result: Mapping[str, Any]) -> list[str]:
    return [
        f"mAP50 {result['map50']:.2%} of points   mAP {result['map']:.2%} (mean of OKS 0.5 to "
        f"0.95)   on {result['n']:,} images",
        f"mAP50 is {shown(result['map50_interval'])} % with 95 % confidence (bootstrap)",
        f"precision {result['precision']:.2%}   recall {result['recall']:.2%}   F1 "
        f"{result['f1']:.2%}   of points with a score of {result['threshold']:g} or more",
    ]


HEADINGS = {
    CLASSIFICATION: Headings(
        primary="top1",
        heading="top-1",
        fit="accuracy",
        fit_heading="acc",
        axis="top-1 accuracy (%)",
        epoch="train {accuracy:.2%}  held-out {held_out_top1:.2%}",
        classes="{} classes",
        hub_metric="accuracy",
        lines=_classification_lines,
        per_class="of each class",
        after_training=_accuracy,
        card_labels="classes",
        card_limits=", and it always predicts one of its classes",
    ),
    # Before the next, whose primary number boxes have too.
    DETECTION: Headings(
        primary="map50",
        heading="mAP50",
        fit="centers_found",
        fit_heading="centers",
        axis="centers found; held-out: mAP50 (%)",
        epoch="centers {centers_found:.2%}  held-out mAP50 {held_out_map50:.2%}",
        classes="{} classes of boxes",
        hub_metric="mean_average_precision",
        hub_task="object-detection",
        lines=_detection_lines,
        per_class="average precision of each class at an IoU of 0.5",
        after_training=_average_precision_at_50,
        card_labels="classes",
        card_limits=", and it finds at most 100 boxes in a picture",
    ),
    POINTS: Headings(
        primary="map50",
        heading="mAP50",
        fit="centers_found",
        fit_heading="centers",
        axis="centers found; held-out: mAP50 of points (%)",
        epoch="centers {centers_found:.2%}  held-out mAP50 {held_out_map50:.2%}",
        classes="{} classes of points",
        hub_metric="mean_average_precision",
        hub_task="object-detection",
        lines=_points_lines,
        per_class="average precision of each class at an OKS of 0.5",
        after_training=_average_precision_at_50,
        card_labels="classes",
        card_limits=", and it finds at most 100 points in a picture, not how large objects are",
    ),
    MULTI_LABEL: Headings(
        primary="map",
        heading="mAP",
        fit="exact_match",
        fit_heading="exact",
        axis="exact match; held-out: mAP (%)",
        epoch="exact match {exact_match:.2%}  held-out mAP {held_out_map:.2%}",
        classes="{} labels, any number an image",
        hub_metric="mean_average_precision",
        lines=_multi_label_lines,
        per_class="average precision of each label",
        after_training=_mean_average_precision,
        card_labels="labels, any number of which a picture may have",
    ),
    SEGMENTATION: Headings(
        primary="miou",
        heading="mIoU",
        fit="pixel_accuracy",
        fit_heading="pixels",
        axis="pixels right; held-out: mIoU (%)",
        epoch="pixels {pixel_accuracy:.2%}  held-out mIoU {held_out_miou:.2%}",
        classes="{} classes of pixels",
        hub_metric="mean_iou",
        hub_task="image-segmentation",
        lines=_segmentation_lines,
        per_class="intersection over union of each class",
        after_training=_mean_iou,
        card_labels="classes",
        card_limits=", and it gives one of its classes to every pixel",
    ),
}


def heading(primary: str) -> str:
    """Return what a primary number, ``top1`` or ``map``, is called in a table."""
    return next(h.heading for h in HEADINGS.values() if h.primary == primary)


def of_record(record: Mapping[str, Any], prefix: str = "") -> Headings | None:
    """Return the headings of the task whose primary number a record has; None without any.

    Args:
        record: numbers by their keys.
        prefix: what stands before the keys: ``checkpoint_``.
    """
    known = HEADINGS.values()
    return next((h for h in known if record.get(f"{prefix}{h.primary}") is not None), None)


def judged_by(record: Mapping[str, Any], prefix: str = "") -> tuple[str, float]:
    """Return the heading and the value, a fraction of 1, of a record's primary number.

    Args:
        record: has the primary number of a task, ``top1`` or ``map``.
        prefix: what stands before the keys: ``checkpoint_``.
    """
    found = of_record(record, prefix)
    if found is None:
        raise KeyError(f"expected one of {[h.primary for h in HEADINGS.values()]}")
    return found.heading, record[f"{prefix}{found.primary}"]
