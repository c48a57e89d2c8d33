"""The page in the browser: what is served and to whom, and, in real Chromium, the same answers."""

import http.client
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import needs_browser
from tests.test_cli import json_of, refused
from tfresnet.deploy.device import demo, web_runtimes


@pytest.fixture
def runtimes(tmp_path, monkeypatch):
    """A folder that passes for the fetched interpreters."""
    monkeypatch.setattr(web_runtimes, "folder", lambda: tmp_path / "web")
    for _, _, wanted in web_runtimes.PACKAGES.values():
        for name in wanted.values():
            (tmp_path / "web" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "web" / name).write_text(name)
    (tmp_path / "web" / "packages.json").write_text(json.dumps(web_runtimes._notice()))
    return tmp_path / "web"


def get(port, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    return connection.getresponse()


def page_text(port):
    return get(port, "/").read().decode()


def test_the_site_serves_its_own_files_and_nothing_else(runtimes, serve, exported, tiny_run):
    files = demo.files_of([tiny_run.directory])
    port = serve(files, demo.samples_of(files[0]))
    site = json.loads(get(port, "/site.json").read())
    assert site["title"] == "tiny: resnet8"
    assert [m["name"] for m in site["models"]] == ["model_float32.tflite", "model_int8.tflite"]
    assert get(port, site["models"][1]["url"]).read() == files[1].read_bytes()
    assert len(site["samples"]) == 5
    assert get(port, site["samples"][0]["url"]).getheader("Content-Type") == "image/png"
    assert get(port, "/runtime/litert/index.js").getheader("Content-Type") == "text/javascript"
    licences = get(port, re.search(r'href="(/web/licences[^"]*)"', page_text(port))[1])
    assert licences.getheader("Content-Type") == "text/plain"
    text = licences.read().decode()
    assert all(name in text for name in web_runtimes.PACKAGES)
    assert "Apache License" in text and "MIT License" in text
    page = get(port, "/")
    assert "connect-src 'self'" in page.getheader("Content-Security-Policy")
    for path in ("/config.yaml", "/../config.yaml", "//etc/passwd", "/web/%2e%2e/demo.py", "/web/"):
        assert get(port, path).status == 404
    assert get(port, "/", host=f"evil.example:{port}").status == 403


def test_what_the_page_can_not_run_gets_one_line(runtimes, exported, tiny_run, tmp_path):
    model = tiny_run.directory / "export" / "model_int8.tflite"
    assert "does not exist" in refused("demo", tmp_path / "none.tflite")
    assert "has none; export it" in refused("demo", tmp_path)
    assert "expected a folder of pictures" in refused("demo", model, "--samples", tmp_path / "x")
    (runtimes / "packages.json").write_text("{}")
    assert "tfresnet demo --fetch" in refused("demo", model)


def test_a_port_that_is_taken_gets_one_line(runtimes, serve, exported, tiny_run):
    model = tiny_run.directory / "export" / "model_int8.tflite"
    port = serve([model])
    assert f"--port: expected a free one, got {port}" in refused("demo", model, "--port", port)


SHOW = """async ([bytes, name]) => {
  const blob = new Blob([new Uint8Array(bytes)]);
  await window.show(blob, name);
  const cards = [...document.querySelectorAll("#models article")];
  return cards.map((card) => [...card.querySelectorAll("li")].map((item) => [
    item.querySelector(".label").textContent, parseFloat(item.querySelector(".value").textContent),
  ]));
}"""


@needs_browser
def test_the_browser_gives_the_same_answers_as_predict(page, exported, tiny_run, tmp_path):
    """Samples, a JPEG larger than the input, and one that is turned by its Exif tag.

    Of sides of less than 64 pixels: a JPEG with twice those of a model (4 x 16 here) is decoded
    at half its size by ``predict``, and by no browser.
    """
    folder = tiny_run.directory / "export"
    models = [folder / f"model_{n}" for n in ("float32.tflite", "int8.tflite", "float32.onnx")]
    pictures = sorted((tiny_run.directory / "samples").glob("*.png"))
    rng = np.random.default_rng(0)
    for number in range(5):
        low = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
        picture = Image.fromarray(low).resize((45, 30), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = 1 + number  # orientation
        picture.save(tmp_path / f"{number}.jpg", quality=95, subsampling=0, exif=exif)
        pictures.append(tmp_path / f"{number}.jpg")
    expected = []  # for each model and picture, of each label
    for model in models:
        answers = json_of("predict", model, *pictures, "--top", 10)["predictions"]
        expected.append([{x["label"]: x["probability"] for x in a["top"]} for a in answers])
    found = page(models)
    off = [[] for _ in models]
    for number, path in enumerate(pictures):
        shown = found.evaluate(SHOW, [list(path.read_bytes()), path.name])
        for differences, answers, of_model in zip(off, shown, expected, strict=True):
            assert answers
            differences += [abs(of_model[number][label] - p / 100) for label, p in answers]
    # The page rounds to 0.0005. Another order of sums and another JPEG decoder (a pixel is off by
    # one here and there) move a float file's probabilities by about as much, and an integer
    # file's by a step or two of its logits; pixels cut or turned otherwise move both by 0.1.
    float32, int8, onnx = map(np.mean, off)
    assert max(float32, onnx) < 0.005
    assert int8 < 0.03


@needs_browser
def test_the_browser_resizes_as_pillow_does_to_the_bit(page, exported, tiny_run):
    found = page([tiny_run.directory / "export" / "model_int8.tflite"])
    rng = np.random.default_rng(1)
    for name in ("bilinear", "bicubic"):
        for size, box in (((40, 30), (3, 0, 33, 30)), ((9, 7), (0, 0, 9, 7))):
            pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            got = found.evaluate(
                """async ([data, width, height, box, name]) => {
                  const {resize} = await import("/web/pixels.js");
                  return [...resize({width, height, channels: 3, data}, box, 16, 12, name).data];
                }""",
                [pixels.ravel().tolist(), *size, list(box), name],
            )
            resample = Image.Resampling[name.upper()]
            expected = Image.fromarray(pixels).resize((16, 12), resample, box=box)
            np.testing.assert_array_equal(np.array(got).reshape(12, 16, 3), expected)


@needs_browser
def test_the_page_works_by_keyboard_and_says_what_it_found(page, exported, tiny_run):
    files = demo.files_of([tiny_run.directory])
    found = page(files, demo.samples_of(files[0]))
    found.locator("#samples button").first.focus()
    found.keyboard.press("Enter")
    found.locator("li").nth(9).wait_for()  # five answers of each of two files
    status = found.locator("[role=status]")
    assert status.inner_text().startswith("1_")
    assert found.locator("canvas").get_attribute("aria-label").startswith("What the model sees of")
    for image in found.locator("#samples img").all():
        assert image.get_attribute("alt")
    found.set_viewport_size({"width": 360, "height": 740})
    assert found.evaluate("document.documentElement.scrollWidth") <= 360
    found.evaluate("() => window.show(new Blob(['no picture']), 'text.txt')")
    found.wait_for_selector(".error")
    assert "expected a picture that this browser can read" in status.inner_text()
    # Nothing of the picture before is left.
    assert found.locator("#models li").count() == 0
    assert found.locator(".latency").all_inner_texts() == ["", ""]
    assert found.locator("canvas").get_attribute("aria-label") == "No picture"
    assert found.locator("#hint").inner_text().startswith("Drop a picture")
    found.locator("#samples button").first.click()
    found.locator("li").nth(9).wait_for()  # and the next one is answered


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_has_the_readers_colors(page, exported, tiny_run, scheme):
    files = demo.files_of([tiny_run.directory])
    found = page(files, demo.samples_of(files[0]))
    found.emulate_media(color_scheme=scheme)
    found.set_viewport_size({"width": 390, "height": 844})
    found.locator("#samples button").first.click()
    found.locator("li").nth(9).wait_for()
    assert found.evaluate("document.documentElement.scrollWidth") <= 390
    assert found.locator("h1").inner_text() == "tiny: resnet8"
    look = "getComputedStyle(document.body)"
    paper, ink = (found.evaluate(f"{look}.{key}") for key in ("backgroundColor", "color"))
    light, dark = (paper, ink) if scheme == "light" else (ink, paper)
    assert sum(map(int, re.findall(r"\d+", light))) > 600
    assert sum(map(int, re.findall(r"\d+", dark))) < 150


def test_files_of_no_run_or_of_several_name_themselves(tmp_path):
    a, b = tmp_path / "a" / "export" / "int8.tflite", tmp_path / "b" / "export" / "x.onnx"
    assert demo._title([a, a], "resnet8") == "a: resnet8"
    assert demo._title([a, b], "resnet8") == "int8.tflite, x.onnx: resnet8"
    assert demo._title([tmp_path / "int8.tflite"], "resnet8") == "int8.tflite: resnet8"


def test_the_samples_are_pictures_beside_the_export(tiny_run):
    model = tiny_run.directory / "export" / "model_int8.tflite"
    assert len(demo.samples_of(model)) == 5
    assert demo.samples_of(Path("/none/export/model.tflite")) == []
