"""The page and the model card that an export ends with."""

import re
from html.parser import HTMLParser

import numpy as np
import yaml

from tfresnet.deploy.proof import figures


def test_the_page_stands_alone_and_shows_everything(exported, tiny_run):
    html = (tiny_run.directory / "export" / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', html)  # nothing is loaded
    assert html.count("<svg") == 3  # trade-off, confusion, layers
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert headings[0] == "Files"
    disagree = next(h for h in headings if "disagrees" in h)
    different, total = re.search(r"([\d,]+) of ([\d,]+) images", disagree).groups()
    int8 = next(a for a in exported["artifacts"] if a["quantization"] == "int8")
    assert int(different) == round((1 - int8["agreement"]) * int(total))
    assert html.count("<figure>") == min(int(different), 24)
    for artifact in exported["artifacts"]:
        assert f"<td>{figures.label(artifact)}</td><td>{artifact['bytes'] / 1000:,.1f}</td>" in html
    parser = HTMLParser()
    parser.feed(html)


def test_the_card_is_what_hubs_read(exported, tiny_run):
    text = (tiny_run.directory / "export" / "MODEL_CARD.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["pipeline_tag"] == "image-classification"
    results = metadata["model-index"][0]["results"]
    assert len(results) == len(exported["artifacts"])
    assert results[0]["metrics"][0]["value"] == round(exported["artifacts"][0]["top1"], 4)
    assert body.count("\n| ") == 2 + len(exported["artifacts"])
    assert f"{exported['checkpoint_top1']:.2%}" in body


def test_the_front_is_of_those_that_none_beats():
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 7.0), (4.0, 9.0)]
    assert figures.pareto(points) == [(1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]


def test_too_many_classes_have_no_matrix():
    answers = {"a": np.zeros(3, int)}
    assert figures.confusion(np.zeros(3, int), answers, [str(i) for i in range(31)]) is None
    assert "<svg" in figures.svg(figures.confusion(np.zeros(3, int), answers, ["x", "y"]))
