"""What stands beside the model card: the bill of materials, and Croissant of a folder."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import write_images
from tfresnet.deploy import croissant, provenance
from tfresnet.deploy.provenance import Provenance
from tfresnet.deploy.records import Report
from tfresnet.runtime.metadata import read_metadata
from tfresnet.system import dependencies
from tfresnet.system.files import digest_of

export = pytest.fixture(lambda tiny_run, exported: tiny_run.directory / "export")


def test_the_bill_of_materials_is_cyclonedx(export):
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    text = (export / "bom.cdx.json").read_text()
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    root, parts = bom["metadata"]["component"], {c["bom-ref"]: c for c in bom["components"]}
    assert root["type"] == "machine-learning-model"
    assert root["modelCard"]["modelParameters"]["modelArchitecture"] == "resnet8"
    (digest,) = parts["file:model_int8.tflite"]["hashes"]
    assert digest["content"] == digest_of(export / "model_int8.tflite")
    libraries = {c["name"]: c for c in parts.values() if c["type"] == "library"}
    assert libraries["click"]["licenses"] and libraries["tensorflow"]["version"]
    needs = {edge["ref"]: edge.get("dependsOn", []) for edge in bom["dependencies"]}
    assert set(parts) <= set(needs)
    assert libraries["numpy"]["bom-ref"] in needs[libraries["tensorflow"]["bom-ref"]]


def test_the_same_export_has_the_same_bill(export):
    from tfresnet.deploy import bill_of_materials

    made_of = Provenance.model_validate_json((export / "provenance.json").read_text())
    report = Report.model_validate_json((export / "report.json").read_text())
    again = bill_of_materials.text(made_of, read_metadata(export / "model_int8.tflite"), report)
    first, again = json.loads((export / "bom.cdx.json").read_text()), json.loads(again)
    assert first["components"] == again["components"]
    assert first["dependencies"] == again["dependencies"]


def test_dependencies_are_those_that_are_needed_here():
    found = {d.name: d for d in dependencies.installed()}
    assert {"tensorflow", "numpy", "click", "six"} <= set(found)
    assert "pytest" not in found and "tfresnet" not in found
    assert found["numpy"].license.startswith("BSD")
    assert dependencies.installed("no-such-package") == ()


def described(folder: Path, task: str) -> Path:
    digest = provenance.of_folder(folder)
    (folder / "croissant.json").write_text(croissant.text(folder, task, ("cat", "dog"), digest))
    return folder / "croissant.json"


def records(path: Path) -> list[dict]:
    mlc = pytest.importorskip("mlcroissant")
    data = mlc.Dataset(jsonld=str(path))
    assert not data.metadata.issues.errors
    return list(data.records("records"))


def test_croissant_of_class_folders_is_read_with_labels_and_splits(tmp_path):
    write_images(tmp_path / "p" / "train", {"cat": 2, "dog": 1})
    write_images(tmp_path / "p" / "val", {"cat": 1, "dog": 1})
    found = records(described(tmp_path / "p", "classify"))
    told = sorted((r["records/split"].decode(), r["records/label"].decode()) for r in found)
    assert told == [
        ("train", "cat"), ("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog"),
    ]  # fmt: skip
    assert found[0]["records/image"].size == (24, 20)
    flat = shutil.copytree(tmp_path / "p" / "train", tmp_path / "flat")
    assert {r["records/label"] for r in records(described(flat, "classify"))} == {b"cat", b"dog"}


def test_croissant_of_masks_tables_and_boxes(tmp_path):
    masks = tmp_path / "masks"
    for part in ("images", "masks"):
        (masks / part).mkdir(parents=True)
        Image.new("L", (4, 4)).save(masks / part / "a.png")
    (masks / "classes.txt").write_text("cat\ndog\n")
    assert len(records(described(masks, "segment"))) == 1
    table = write_images(tmp_path / "table", {"pictures": 2})
    (table / "labels.csv").write_text("file,labels\npictures/0.jpg,cat\npictures/1.jpg,dog\n")
    (found, _) = records(described(table, "classify"))
    assert "records/label" not in found
    boxes = write_images(tmp_path / "boxes", {"JPEGImages": 1})
    (boxes / "Annotations").mkdir()
    (boxes / "Annotations" / "0.xml").write_text("<annotation/>")
    values = json.loads(described(boxes, "detect").read_text())
    assert [part["@id"] for part in values["distribution"]] == ["pictures", "annotations"]
    assert len(records(boxes / "croissant.json")) == 1


def test_a_folder_has_a_digest_of_its_contents_or_of_its_sizes(tmp_path):
    folder = write_images(tmp_path / "p", {"cat": 2})
    whole, sizes = provenance.of_folder(folder), provenance.of_folder(folder, largest=10)
    assert (whole.files, whole.lines) == (2, provenance.BY_CONTENT)
    assert sizes.lines == provenance.BY_SIZE and sizes.sha256 != whole.sha256
    (folder / ".hidden").write_text("x")
    assert provenance.of_folder(folder) == whole
    (folder / "cat" / "0.jpg").rename(folder / "cat" / "2.jpg")
    assert provenance.of_folder(folder).sha256 != whole.sha256


def test_the_code_has_a_digest():
    assert len(provenance.code_sha256()) == 64 and provenance.code_sha256() == (
        provenance.code_sha256()
    )
