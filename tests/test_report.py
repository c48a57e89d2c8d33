"""The page and the model card that an export ends with."""

import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests.conftest import CHROMIUM, needs_browser
from tfresnet import tasks
from tfresnet.config.loading import dataset_name
from tfresnet.deploy.records import Report
from tfresnet.deploy.report import figures, page
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.spec import InputSpec, OutputSpec

PASSED = {
    "format": "tflite", "bytes": 1000, "gzip_bytes": 900, "top1": 0.9, "drop": 0.0,
    "metric": "top1", "value": 0.9,
    "agreement": 1.0, "max_abs_error": 0.01, "latency_ms": 0.1, "fully_integer": True,
    "failures": [],
}  # fmt: skip


def artifact(name: str, quantization: str = "int8", **changes) -> ArtifactRecord:
    named = {"path": f"r/export/model_{name}", "quantization": quantization}
    return ArtifactRecord(**PASSED | named | changes)


def test_the_page_stands_alone_and_shows_everything(exported, tiny_run):
    html = (tiny_run.directory / "export" / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', html)  # nothing is loaded
    in_detail = page.examined(Report(**exported).artifacts)
    # Accuracy over size and over latency, and the confusion of the checkpoint and of those files.
    assert html.count("<svg") == 3 + len(in_detail)
    assert html.count(" dB</span>") > 8  # of each layer
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert headings[0] == "Files"
    pictures = 0
    for artifact in in_detail:
        start = f"Where {figures.label(artifact)} disagrees with the checkpoint: "
        disagree = next(h for h in headings if h.startswith(start))
        different, total = re.search(r"([\d,]+) of ([\d,]+) images", disagree).groups()
        assert int(different) == round((1 - artifact.agreement) * int(total))
        pictures += min(int(different), 24)
    assert html.count('alt="image ') == pictures
    for artifact in Report(**exported).artifacts:
        assert f"<td>{figures.label(artifact)}</td><td>{artifact.bytes / 1000:,.1f}</td>" in html
    parser = HTMLParser()
    parser.feed(html)


def test_the_page_names_the_run_its_data_and_the_day(exported, tiny_run):
    html = (tiny_run.directory / "export" / "report.html").read_text()
    assert "<title>tiny: resnet8 on digits, 10 classes</title>" in html
    assert "<h1>tiny</h1>" in html
    written = (tiny_run.directory / "export" / "report.html").stat().st_mtime
    for said in (
        "<dt>Data</dt><dd>digits; measured on 360 held-out images</dd>",
        f"<dt>Exported</dt><dd>{datetime.fromtimestamp(written):%Y-%m-%d}",
    ):
        assert said in html


def test_what_failed_is_looked_into_first():
    """And of more than three, those that lost most; else the integer file that lost least."""
    good, better = artifact("int8.tflite", drop=0.2), artifact("int16x8.tflite", "int16x8")
    floating = artifact("float32.tflite", "float32")
    assert page.examined([floating, good, better]) == [better]
    failed = [
        artifact(f"{i}.onnx", format="onnx", drop=drop, failures=["lost"])
        for i, drop in enumerate([2.0, 5.0, 3.0, 4.0])
    ]
    every = [floating, good, *failed, better]
    assert page.examined(every) == [failed[1], failed[3], failed[2]]
    assert page.examined(every, chosen=good.path)[0] == good
    assert page.examined([floating]) == []


def a_page(*artifacts: ArtifactRecord) -> str:
    """The page of 20 grey images of two classes, of which the last file gets 5 wrong."""
    classes = np.array([0, 1] * 10)
    probabilities = np.eye(2)[classes]
    wrong = np.eye(2)[np.where(np.arange(20) < 5, 1 - classes, classes)]
    predicted = {a.path: probabilities for a in artifacts} | {artifacts[-1].path: wrong}
    images = np.full((20, 8, 8, 3), 128, np.uint8)
    result = {"arch": "resnet8", "preset": "custom", "seed": 0, "epochs": 2, "commit": None}
    context = SimpleNamespace(
        run=SimpleNamespace(
            directory=Path("/runs/<mine>"),
            spec=InputSpec(8, 8),
            output=OutputSpec("classification", ("<a>", "b" * 60)),
        ),
        result=SimpleNamespace(**result),
        data=SimpleNamespace(dataset="/home/somebody/pictures"),
        config=SimpleNamespace(features=False),
        reference=SimpleNamespace(predictions=probabilities, truth=classes),
        task=tasks.of(OutputSpec("classification", ("<a>", "b" * 60))),
        held_out=[(tf.constant(images), tf.constant(classes), tf.ones(20))],
        calibration=SimpleNamespace(images=images[:0]),
    )
    report = Report(
        artifacts=list(artifacts), n=20, checkpoint_top1=1.0, processor=None,
        checkpoint={"top1": 1.0, "top5": None, "loss": 0.0, "ece": 0.0},
        calibration={"count": 0, "seed": 0},
    )  # fmt: skip
    return page.html(context, report, predicted)


FAILURE = "top-1 dropped 25.00 points, more than 1"


@pytest.fixture(scope="module")
def failed_page() -> str:
    small = artifact("int8.onnx", format="onnx", drop=25.0, bytes=900, failures=[FAILURE])
    return a_page(artifact("float32.tflite", "float32", bytes=4000), artifact("int8.tflite"), small)


def test_a_page_with_a_failed_file_says_so_first_and_shows_that_file(failed_page):
    assert failed_page.index(f"<li>int8 (onnx): {FAILURE}</li>") < failed_page.index("<h2>")
    headings = re.findall("<h2>(.*?)</h2>", failed_page)
    assert "Where int8 (onnx) disagrees with the checkpoint: 5 of 20 images" in headings
    assert not any(heading.startswith("Where int8 disagrees") for heading in headings)
    assert failed_page.count('alt="image ') == 5
    assert "<h1>&lt;mine&gt;</h1>" in failed_page
    assert "somebody" not in failed_page  # nor where the data are


def test_the_legend_names_a_front_only_where_there_is_one(failed_page):
    cheap = artifact("int8.tflite", bytes=500, latency_ms=0.05)
    assert "Pareto front" not in a_page(artifact("float32.tflite", "float32"), cheap)
    dear = artifact("float32.tflite", "float32", value=0.95)
    both = a_page(cheap, dear)
    assert "Pareto front" in both
    assert "All 2 files passed their checks." in both
    assert failed_page.count("<li><span style=") == 3  # a sign for each file


LOOK = """() => ({
  width: document.documentElement.scrollWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  texts: [...document.querySelectorAll("svg text")].map((text) => getComputedStyle(text).fill),
  lines: [...document.querySelectorAll("svg path")].map((path) => getComputedStyle(path).stroke),
  sizes: [...document.querySelectorAll("svg text")].map((t) => t.getBoundingClientRect().height),
})"""


def brightness(color: str) -> int:
    return sum(map(int, re.findall(r"\d+", color)[:3]))


@needs_browser
def test_the_page_can_be_read_on_a_phone_in_the_light_and_in_the_dark(failed_page, tmp_path):
    """Nothing is cut or too small, and the figures' text and axes have the page's color."""
    from playwright.sync_api import sync_playwright

    (tmp_path / "report.html").write_text(failed_page, encoding="utf-8")
    seen = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            phone = {"width": 390, "height": 844}
            found = browser.new_page(viewport=phone, color_scheme=scheme)
            found.goto((tmp_path / "report.html").as_uri())
            seen[scheme] = found.evaluate(LOOK)
        browser.close()
    for look in seen.values():
        assert look["width"] <= 390
        assert abs(brightness(look["paper"]) - brightness(look["ink"])) > 500
        assert look["texts"].count(look["ink"]) > 20  # the others are on dark cells
        assert {fill for fill in look["texts"] if fill != look["ink"]} <= {"rgb(255, 255, 255)"}
        assert look["ink"] in look["lines"]
        assert "rgb(0, 0, 0)" not in look["lines"]
        assert min(look["sizes"]) > 6
    assert brightness(seen["dark"]["paper"]) < 150 < 600 < brightness(seen["light"]["paper"])


def test_a_datasets_name_is_not_where_it_is(tmp_path):
    assert dataset_name(str(tmp_path / "moved" / "pictures")) == "pictures"
    assert dataset_name("cifar10") == "cifar10"
    assert dataset_name("imagenet_v2/matched-frequency") == "imagenet_v2/matched-frequency"


def test_the_card_is_what_hubs_read(exported, tiny_run):
    text = (tiny_run.directory / "export" / "MODEL_CARD.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["pipeline_tag"] == "image-classification"
    assert "\n    python bundle/classify.py bundle/model_int8.tflite photo.jpg\n" in body
    (result,) = metadata["model-index"][0]["results"]  # of one task on one data set
    found = [metric["value"] for metric in result["metrics"]]
    expected = [exported["checkpoint_top1"], *(a["top1"] for a in exported["artifacts"])]
    assert found == [round(value, 4) for value in expected]
    assert body.count("\n| ") == 2 + len(exported["artifacts"])
    assert f"{exported['checkpoint_top1']:.2%}" in body


def test_the_front_is_of_those_that_none_beats():
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0)]
    assert figures.pareto(points) == [(1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]


def test_too_many_classes_have_no_matrix():
    answers = np.zeros(3, int)
    assert figures.confusion(answers, answers, [str(i) for i in range(31)], "a") is None
    assert "<svg" in figures.svg(figures.confusion(answers, answers, ["x", "y"], "a"))
