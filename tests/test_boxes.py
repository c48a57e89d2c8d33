"""Folders of boxes: VOC, COCO and YOLO; what is corrected in them, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from tfresnet.config.sections import DataConfig
from tfresnet.data import (
    box_marks,
    box_split,
    boxes,
    folder_recipe,
    lookup,
    pipeline,
    place_recipe,
    sources,
    splits,
)
from tfresnet.data.boxes import Scan
from tfresnet.data.dataset import Dataset
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import DETECTION, InputSpec, OutputSpec

BCCD = Path(__file__).parents[2] / "shared" / "datasets" / "bccd"
WIDTH, HEIGHT = 40, 20
# x1, y1, x2, y2 in pixels that count from 0, of the edges.
CAT, DOG = ("cat", (4.0, 5.0, 14.0, 15.0)), ("dog", (20.0, 0.0, 40.0, 10.0))
NAMES = ["cat", "dog"]


def picture(path: Path, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[box_marks.ORIENTATION] = orientation
    color = (ord(path.stem[-1]), 0, 0)  # else all would be the same picture
    Image.new("RGB", (WIDTH, HEIGHT), color).save(path, exif=exif)
    return path


def xml_of(marks, size=(WIDTH, HEIGHT), first=1, extra="") -> str:
    """VOC's XML; ``first`` is the number of the first pixel."""
    objects = "".join(
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{x1 + first:g}</xmin>"
        f"<ymin>{y1 + first:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in marks
    )
    width, height = size
    stated = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{stated}{objects}</annotation>"


@pytest.fixture
def voc(tmp_path) -> Path:
    """Two pictures to train on, one for test: a has a cat and a dog, b a dog, c a cat."""
    root = tmp_path / "voc"
    lists = {"train": "a\nb\n", "test": "c\n", "val": "b\n"}
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for name, marks in {"a": [CAT, DOG], "b": [DOG], "c": [CAT]}.items():
        picture(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(xml_of(marks))
    for part, text in lists.items():
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text(text)
    return root


@pytest.fixture
def coco(tmp_path) -> Path:
    """The same in COCO's format, whose category numbers have gaps."""
    root = tmp_path / "coco"
    for part, names in {"train": {"a": [CAT, DOG], "b": [DOG]}, "val": {"c": [CAT]}}.items():
        numbers = {name: number for number, name in enumerate(names, start=1)}
        marks = [(name, mark) for name in names for mark in names[name]]
        content = {
            "images": [
                {"id": number, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
                for name, number in numbers.items()
            ],
            "annotations": [
                {"id": i, "image_id": numbers[name], "category_id": {"cat": 3, "dog": 7}[label],
                 "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]], "iscrowd": 0}
                for i, (name, (label, box)) in enumerate(marks)
            ],
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        }  # fmt: skip
        for name in names:
            picture(root / f"{part}2017" / f"{name}.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(content))
        (root / "annotations" / f"captions_{part}2017.json").write_text("{}")
    return root


def line(number: int, box) -> str:
    x1, y1, x2, y2 = box
    shares = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    return " ".join(map(str, (number, *shares)))


@pytest.fixture
def yolo(tmp_path) -> Path:
    """The same in YOLO's format."""
    root = tmp_path / "yolo"
    text = {"train/a": [CAT, DOG], "train/b": [DOG], "val/c": [CAT]}
    for name, marks in text.items():
        picture(root / "images" / f"{name}.jpg")
        labels = root / "labels" / f"{name}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(line(NAMES.index(label), box) for label, box in marks))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def check_same(found: Scan) -> None:
    """The scan has the pictures a, b and c with their boxes."""
    assert found.labels == ("cat", "dog")
    assert [p.path.name for p in found.train] == ["a.jpg", "b.jpg"]
    a, b = found.train
    (c,) = found.held_out
    assert a.size == (WIDTH, HEIGHT)
    # 1e-4 pixels: float32, and YOLO's shares.
    np.testing.assert_allclose(a.boxes, [CAT[1], DOG[1]], atol=1e-4)
    np.testing.assert_allclose(c.boxes, [CAT[1]], atol=1e-4)
    assert [list(p.classes) for p in (a, b, c)] == [[0, 1], [1], [0]]
    assert not a.ignored.any()


@pytest.mark.parametrize("name", ["voc", "coco", "yolo"])
def test_the_three_formats_say_the_same(name, request):
    found = boxes.scan(request.getfixturevalue(name))
    check_same(found)
    told = "pictures to train on are those of train, held-out ones those of test; not used: val"
    assert found.notes == ((told,) if name == "voc" else ())


def test_voc_counts_from_0_where_a_file_has_a_0(voc):
    for name, marks in {"a": [CAT, DOG], "b": [DOG], "c": [CAT]}.items():
        (voc / "Annotations" / f"{name}.xml").write_text(xml_of(marks, first=0))
    check_same(boxes.scan(voc))


def test_other_layouts_of_voc(voc):
    """Kaggle's folders, without lists; Roboflow's, where XML is beside the pictures."""
    for name in "ab":
        (voc / "train").mkdir(exist_ok=True)
        shutil.copy(voc / "JPEGImages" / f"{name}.jpg", voc / "train")
        shutil.copy(voc / "Annotations" / f"{name}.xml", voc / "train")
    (voc / "valid").mkdir()
    shutil.move(voc / "JPEGImages" / "c.jpg", voc / "valid")
    shutil.move(voc / "Annotations" / "c.xml", voc / "valid")
    shutil.rmtree(voc / "ImageSets")
    (voc / "JPEGImages").rename(voc / "images")
    whole = boxes.scan(voc)
    assert ([p.path.stem for p in whole.train], whole.held_out) == (["a", "b"], None)
    shutil.rmtree(voc / "images")
    shutil.rmtree(voc / "Annotations")
    check_same(boxes.scan(voc))


def test_roboflow_s_coco_is_read_and_its_category_of_all_is_no_class(coco):
    for part, name in {"train": "train", "val": "valid"}.items():
        shutil.move(coco / f"{part}2017", coco / name)
        content = json.loads((coco / "annotations" / f"instances_{part}2017.json").read_text())
        for category in content["categories"]:
            category["supercategory"] = "pets"
        content["categories"].append({"id": 0, "name": "pets", "supercategory": "none"})
        (coco / name / "_annotations.coco.json").write_text(json.dumps(content))
    shutil.rmtree(coco / "annotations")
    check_same(boxes.scan(coco))


@pytest.mark.parametrize(
    "text",
    ["path: .\ntrain: images/train\nval: images/val\nnames:\n  1: dog\n  0: cat\n",
     "path: ../elsewhere\ntrain: [images/train]\nval: ../images/val\nnc: 2\nnames: ['cat', 'dog']",
     "train: a.txt\nval: images/val\nnames: {0: cat, 1: dog}"],
)  # fmt: skip
def test_paths_of_yolo_are_found_as_ultralytics_and_roboflow_write_them(yolo, text):
    (yolo / "data.yaml").write_text(text)
    (yolo / "a.txt").write_text("./images/train/a.jpg\n./images/train/b.jpg\n")
    check_same(boxes.scan(yolo))


def test_yolo_with_folders_of_parts_outside_and_with_classes_txt(yolo):
    """Roboflow has ``train/images`` and ``train/labels``; CVAT and others have no YAML."""
    (yolo / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"expected the names of the classes of labels/"):
        boxes.scan(yolo)
    (yolo / "classes.txt").write_text("cat\ndog\n")
    check_same(boxes.scan(yolo))
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (yolo / part).mkdir(exist_ok=True)
            shutil.move(yolo / kind / part, yolo / part / kind)
    (yolo / "data.yaml").write_text(
        "train: ../train/images\nval: ../val/images\nnames: [cat, dog]\n"
    )
    check_same(boxes.scan(yolo))


def test_polygons_of_yolo_become_their_boxes(yolo):
    (yolo / "labels" / "val" / "c.txt").write_text("0 0.1 0.25 0.35 0.5 0.2 0.75\n")
    found = boxes.scan(yolo)
    np.testing.assert_allclose(found.held_out[0].boxes, [CAT[1]], atol=1e-4)
    assert "of 1 polygon the box around it is taken" in found.notes[0]


def test_difficult_and_crowded_boxes_are_ignored(voc, coco):
    marks = xml_of([DOG], extra="<difficult>1</difficult>")
    (voc / "Annotations" / "b.xml").write_text(marks)
    assert boxes.scan(voc).train[1].ignored.tolist() == [True]
    file = coco / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    assert boxes.scan(coco).train[0].ignored.tolist() == [True, False]


def test_imperfect_boxes_are_corrected_and_counted(voc):
    """One over the border, one twice, and one without width among 40."""
    many = [("cat", (float(i), 0.0, i + 2.0, 3.0)) for i in range(38)]
    odd = [("cat", (30.0, 8.0, 42.0, 15.0)), ("cat", (7.0, 7.0, 7.0, 9.0)), many[0]]
    text = xml_of([*many, *odd]).replace("<xmin>8</xmin><ymin>8<", "<xmin>7</xmin><ymin>8<")
    (voc / "Annotations" / "a.xml").write_text(text)
    found = boxes.scan(voc)
    assert len(found.train[0].boxes) == 39
    np.testing.assert_array_equal(found.train[0].boxes[-1], [30, 8, 40, 15])
    *_, empty, over, twice = found.notes
    assert "left out: 1 box without a width or a height:" in empty
    assert "a.xml, object 40" in empty
    assert "cut off at the border of the picture: 1 box:" in over
    assert "left out, as another is the same: 1 box:" in twice


def test_pictures_without_annotation_have_no_boxes(voc, yolo):
    (voc / "Annotations" / "b.xml").unlink()
    (yolo / "labels" / "train" / "b.txt").unlink()
    for root in (voc, yolo):
        found = boxes.scan(root)
        assert [len(p.boxes) for p in found.train] == [2, 0]
        assert any(
            "without annotation, taken as pictures without boxes: 1" in n for n in found.notes
        )


def test_missing_and_unreadable_pictures_can_be_left_out(voc, yolo):
    (voc / "JPEGImages" / "b.jpg").unlink()
    (yolo / "images" / "train" / "b.jpg").write_bytes(b"no picture")
    for root, told in ((voc, "1 annotation without picture"), (yolo, "1 broken image")):
        with pytest.raises(InputError, match="--skip-broken"):
            boxes.scan(root)
        found = boxes.scan(root, skip_broken=True)
        assert [p.path.stem for p in found.train] == ["a"]
        assert any(told in note for note in found.notes)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_boxes_of_a_picture_that_is_stored_turned(voc, orientation):
    """By its stated size a box is in the picture as stored: it turns with the pixels."""
    path = picture(voc / "JPEGImages" / "c.jpg", orientation)
    x1, y1, x2, y2 = (int(v) for v in CAT[1])
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[y1:y2, x1:x2] = 1
    stored = Image.fromarray(pixels)
    stored.getexif()[box_marks.ORIENTATION] = orientation
    (found,) = boxes.scan(voc).held_out
    if orientation < 5:  # the size does not tell: the box is in the picture as seen
        np.testing.assert_array_equal(found.boxes, [CAT[1]])
        return
    seen = np.asarray(ImageOps.exif_transpose(stored))
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_array_equal(found.boxes, [expected])
    assert found.size == ImageOps.exif_transpose(Image.open(path)).size == (HEIGHT, WIDTH)
    assert any("boxes were turned with the picture" in note for note in boxes.scan(voc).notes)


def test_boxes_of_a_picture_that_is_annotated_as_seen(voc):
    picture(voc / "JPEGImages" / "c.jpg", 6)
    marks = [("cat", (1.0, 2.0, 15.0, 30.0))]
    (voc / "Annotations" / "c.xml").write_text(xml_of(marks, size=(HEIGHT, WIDTH)))
    np.testing.assert_array_equal(boxes.scan(voc).held_out[0].boxes, [marks[0][1]])


def test_parts_can_be_chosen_by_name(voc):
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\n")
    found = boxes.scan(voc, train_split="val", eval_split="train")
    assert [[p.path.stem for p in part] for part in (found.train, found.held_out)] == [
        ["b"],
        ["a", "b"],
    ]
    with pytest.raises(InputError, match=r"data.train_split: expected one of .*, got all"):
        boxes.scan(voc, train_split="all")
    with pytest.raises(InputError, match=r"eval_split: expected another part than val, got the sa"):
        boxes.scan(voc, train_split="test+val", eval_split="val")


def test_several_parts_can_be_trained_on(voc):
    (voc / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    (voc / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    found = boxes.scan(voc, train_split="train+val")
    assert [p.path.stem for p in found.train] == ["a", "b"]
    assert [p.path.stem for p in found.held_out] == ["c"]
    assert not found.notes


# What is wrong: the format, a file, what to replace in it (None: the whole), by what, and the
# message. A text of None removes the file.
XML, LIST = "Annotations/a.xml", "ImageSets/Main/train.txt"
JSON, TXT = "annotations/instances_train2017.json", "labels/train/a.txt"
MISTAKES = {
    "outside": ("voc", XML, "<xmax>14<", "<xmax>99<", "a.xml, object 1: expected a box in the pic"),
    "no width": ("voc", XML, "<xmin>5<", "<xmin>14<", "object 1: expected a box with a width"),
    "turned over": ("voc", XML, "<xmin>5<", "<xmin>19<", "object 1: expected a box whose left is"),
    "not a number": ("voc", XML, "<xmin>5<", "<xmin>?<", r"object 1: expected <bndbox> with the n"),
    "infinite": ("voc", XML, "<xmin>5<", "<xmin>nan<", "object 1: expected a box of 4 numbers"),
    "no box": ("voc", XML, "bndbox", "box", "object 1: expected <bndbox> .* got nothing, nothing"),
    "no name": ("voc", XML, "<name>cat</name>", "", "object 1: expected the name of a class"),
    "broken XML": ("voc", XML, "</size>", "", "a.xml: expected XML in the format of Pascal VOC: m"),
    "no XML": ("voc", XML, None, "", "a.xml: expected XML in the format of Pascal VOC: no"),
    "size": ("voc", XML, "<width>40<", "<width>80<", "expected the size of a.jpg, 40 x 20, got 80"),
    "size, a word": ("voc", XML, "<width>40<", "<width>?<", "a.xml: expected <size> with a width"),
    "no picture": ("voc", LIST, "a\n", "z\n", "train.txt, line 1, z: expected the picture that th"),
    "a name twice": ("voc", LIST, "b\n", "a\n", "train.txt, line 2: expected each picture once"),
    "an empty list": ("voc", LIST, None, "\n", "train.txt: expected the name of a picture a line"),
    "only for test": ("voc", LIST, None, None, "expected pictures to train on in .*, got only .*v"),
    "no boxes": ("voc", LIST, None, "d\n", "expected boxes to learn from in 1 picture, got none"),
    "broken JSON": ("coco", JSON, "[", "", "instances_train2017.json: expected JSON: Expecting"),
    "no list": ("coco", JSON, '"images"', '"pictures"', "expected a list under images, annotation"),
    "no classes": ("coco", JSON, '"name"', '"title"', "categories: expected an id and a name of i"),
    "category": ("coco", JSON, '"category_id": 3', '"category_id": 4', "annotation 0: expected th"),
    "image": ("coco", JSON, '"image_id": 1', '"image_id": 8', "annotation 0: expected the id of o"),
    "a list": ("coco", JSON, '"image_id": 1', '"image_id": [1]', "annotations, entry 1: expected"),
    "3 numbers": ("coco", JSON, "[4.0, ", "[", "annotation 0: expected bbox as 4 numbers"),
    "a file twice": ("coco", JSON, '"b.jpg"', '"a.jpg"', "images: expected an id and a file_name "),
    "missing": ("coco", JSON, '"b.jpg"', '"z.jpg"', "image 2, z.jpg: expected the picture that"),
    "4 numbers": ("yolo", TXT, None, "0 0.5 0.5 0.1", "a.txt, line 1: expected 5 numbers, class"),
    "a word": ("yolo", TXT, None, "cat 0.5 0.5 0.1 0.1", "a.txt, line 1: expected 5 numbers, clas"),
    "class": ("yolo", TXT, None, "2 0.5 0.5 0.1 0.1", "a.txt, line 1: expected the number of a cl"),
    "pixels": ("yolo", TXT, None, "0 20 10 9 9", "a.txt, line 1: expected shares of the picture's"),
    "names": ("yolo", "data.yaml", "[cat, dog]", "", "data.yaml, names: expected the names of the"),
    "a gap": ("yolo", "data.yaml", "[cat, dog]", "{0: cat, 2: dog}", "expected a name for each nu"),
    "broken YAML": ("yolo", "data.yaml", "[cat, dog]", "[cat", "data.yaml: expected YAML: while p"),
    "a path": ("yolo", "data.yaml", "images/val", "images/no", "val: expected a folder of picture"),
    "no YAML": ("yolo", "data.yaml", None, None, "expected the names of the classes of labels/"),
    "labels alone": ("yolo", "labels/train/z.txt", None, "", "z.txt: expected the picture of thes"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_in_one_line(mistake, request):
    name, file, old, new, message = MISTAKES[mistake]
    root = request.getfixturevalue(name)
    picture(root / "JPEGImages" / "d.jpg")
    path = root / file
    if new is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(old, new) if old else new)
    with pytest.raises(InputError, match=message) as caught:
        boxes.scan(root)
    assert "\n" not in str(caught.value)


def test_classes_outside_the_given_ones_and_pictures_of_one_name_are_refused(voc):
    with pytest.raises(
        InputError, match=r"a.xml, object 2: expected one of the classes cat, got d"
    ):
        boxes.scan(voc, order=["cat"])
    assert boxes.scan(voc, order=["dog", "cat", "cow"]).labels == ("dog", "cat", "cow")
    picture(voc / "JPEGImages" / "a.png")
    with pytest.raises(InputError, match=r"expected one picture a, got .*a.jpg, .*a.png; rename"):
        boxes.scan(voc)


def test_a_folder_without_boxes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected boxes in .* VOC .* COCO .* YOLO"):
        boxes.scan(tmp_path)


def test_a_split_gives_whole_pictures_and_padded_boxes(voc):
    found = boxes.scan(voc)
    split = box_split.of_files(found.train, InputSpec(10, 10, fit="stretch"), keep=True)
    batches = split.batches(tf.data.Dataset.from_tensor_slices(np.array([[1, 0]])))
    images, truth = next(iter(batches.as_numpy_iterator()))
    assert (images.shape, images.dtype) == ((2, 10, 10, 3), np.uint8)
    shares = np.array([WIDTH, HEIGHT] * 2)
    np.testing.assert_allclose(truth["boxes"][1], [CAT[1], DOG[1]] / shares, atol=1e-6)
    assert truth["classes"].tolist() == [[1, -1], [0, 1]]
    assert not truth["ignored"].any()
    assert batches.element_spec[1]["boxes"].shape == (2, 2, 4)


def load(dataset: Path | str, **config) -> Dataset:
    return sources.load(DataConfig(dataset=str(dataset), **config), default_size=(8, 12))


def test_a_folder_of_boxes_is_a_data_set_of_detection(voc, tmp_path):
    assert lookup.task(DataConfig(dataset=str(voc))) == "detect"
    data = load(voc)
    assert data.output == OutputSpec(DETECTION, ("cat", "dog"))
    assert (data.spec.shape, data.spec.fit) == ((8, 12, 3), "stretch")
    assert (len(data.train), len(data.held_out)) == (2, 1)
    assert splits.path_of(data.held_out, 0).endswith("c.jpg")
    assert sources.load_for(data.spec, data.output, DataConfig(dataset=str(voc))).notes
    file = tmp_path / "names.txt"
    file.write_text("dog #ff0000\ncat #00ff00\n")
    other = load(voc, labels=str(file), eval_split="val", train_split="test")
    assert other.output == OutputSpec(DETECTION, ("dog", "cat"), colors=("#ff0000", "#00ff00"))
    assert other.train.truth["classes"].tolist() == [[1]]
    with pytest.raises(InputError, match=r"data.task: expected detect with .*Pascal VOC"):
        load(voc, task="segment")


def test_the_recipe_for_a_folder_of_boxes(voc):
    config = folder_recipe.for_folder(voc, ["train.epochs=7"])
    assert config.description.startswith(
        "Recipe objects for 2 pictures with 3 boxes of 2 classes, 40 x 20 pixels: resnet18, 0.25 of"
    )
    assert (config.data.image_size, config.train.batch_size) == ([32, 32], 2)
    assert (config.train.epochs, config.data.task) == (7, "detect")
    named = folder_recipe.for_folder(voc, ["model.arch=resnet34"])
    assert (named.model.arch, named.model.width) == ("resnet34", 1.0)
    large = place_recipe.choose(place_recipe.Pictures(205, "2,700 boxes", height=480, width=640))
    assert large == {
        "data.image_size": [352, 480], "train.batch_size": 8, "train.epochs": 146
    }  # fmt: skip


def test_a_share_is_held_out_where_nothing_says_what(voc):
    shutil.rmtree(voc / "ImageSets")
    for i in range(8):
        Image.new("RGB", (WIDTH, HEIGHT), (i * 20, 0, 0)).save(voc / "JPEGImages" / f"{i}.png")
        (voc / "Annotations" / f"{i}.xml").write_text(xml_of([CAT, DOG]))
    data = load(voc, eval_fraction=0.3)
    assert (len(data.train), len(data.held_out)) == (8, 3)
    assert load(voc, eval_fraction=0.3).held_out.paths == data.held_out.paths
    shutil.copy(data.held_out.paths[0], Path(data.train.paths[0]))
    assert any("same content as a held-out one" in n for n in load(voc, eval_fraction=0.3).notes)


class TinyObjects(tfds.core.GeneratorBasedBuilder):
    """Images with 0 to 2 objects, in the features of COCO."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        inside = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_crowd": np.bool_,
        }
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "objects": tfds.features.Sequence(inside),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(3), "test": self._generate_examples(3)}

    def _generate_examples(self, count=0):
        box = tfds.features.BBox(ymin=0.1, xmin=0.2, ymax=0.5, xmax=0.6)
        for i in range(count):
            objects = [{"bbox": box, "label": k % 2, "is_crowd": k == 1} for k in range(i)]
            yield i, {"image": np.full((20, 10 + i, 3), 80 * i, np.uint8), "objects": objects}


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_boxes_of_tfds(tmp_path, cache):
    TinyObjects(data_dir=tmp_path).download_and_prepare()
    data = load("tiny_objects", data_dir=str(tmp_path), cache=cache)
    assert data.output == OutputSpec(DETECTION, ("cat", "dog"))
    images, truth, _ = next(iter(pipeline.raw_batches(data.train, 3)))
    assert truth["boxes"].shape == (3, 2, 4)
    found = {int(image.max()) // 80: row for row, image in enumerate(images.numpy())}
    classes = {i: truth["classes"].numpy()[row].tolist() for i, row in found.items()}
    assert classes == {0: [-1, -1], 1: [0, -1], 2: [0, 1]}
    np.testing.assert_allclose(truth["boxes"][found[1], 0], [0.2, 0.1, 0.6, 0.5], rtol=1e-6)
    assert truth["ignored"].numpy()[found[2]].tolist() == [False, True]


@pytest.mark.skipif(not BCCD.exists(), reason="the blood cells (BCCD) are not beside this checkout")
def test_the_blood_cells_are_read(tmp_path):
    """Their XML has a box of no size in the test list of another copy, and one in train."""
    found = boxes.scan(BCCD)
    assert found.labels == ("Platelets", "RBC", "WBC")
    assert (len(found.train), len(found.held_out)) == (205, 72)
    assert "left out: 1 box without a width or a height: " in found.notes[1]
    assert "BloodImage_00343.xml, object" in found.notes[1]
