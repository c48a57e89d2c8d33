"""Shared fixtures: two logical CPU devices, one small trained run, and its exported files."""

import contextlib
import ctypes
import functools
import gc
import importlib.util
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before huggingface_hub is imported: no test asks the hub, or depends on what somebody has fetched.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": os.path.join(os.path.dirname(__file__), "no-hub")}
os.environ.pop("HF_HUB_CACHE", None)

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.data import digits
from tfresnet.deploy import context
from tfresnet.deploy import export as deploy_export
from tfresnet.deploy.device import benchmark, demo
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# A full collection walks the millions of objects of TensorFlow and of its graphs: at Python's own
# thresholds (700, 10, 10) that is a twelfth of the suite's time. What is imported by now stays.
gc.set_threshold(20_000, 10, 10)
gc.freeze()

# What files take is measured hundreds of times here; that it is measured is what is tested.
for constant in ("WARMUP_SECONDS", "ROUND_SECONDS", "LATENCY_SECONDS"):
    setattr(benchmark, constant, 0.02)

# Without images to choose on, ranges are those of min-max: the choice is the work of three
# quantizations, and tests/test_calibration.py is about it.
context.CHOSEN_ON = 0

# Of the images that set ranges, and that weights are rounded for, a few do for small networks.
CALIBRATION = 100
ExportConfig.model_fields["calibration_images"].default = CALIBRATION
ExportConfig.model_rebuild(force=True)

# Most runs are of the same digits, which are made larger one by one.
digits.fitted = functools.lru_cache(4)(digits.fitted)

TINY = ["data.image_size=16", "train.epochs=2", "train.warmup_epochs=1"]


@pytest.fixture(scope="module", autouse=True)
def free_memory() -> Iterator[None]:
    """Give back what a module's networks took: else a worker grows to several gigabytes."""
    yield
    keras.backend.clear_session()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # where the C library is not glibc
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> run_directory.Run:
    """ResNet-8 after two epochs on 16-pixel digits: quick, and better than chance."""
    config = loading.load("quickstart", TINY)
    return train(config, tmp_path_factory.mktemp("runs") / "tiny")


def export(run: run_directory.Run, config: ExportConfig, **more: Any) -> dict[str, Any]:
    """The report of an export as JSON has it."""
    return deploy_export.export(run, config, **more).to_dict()


@pytest.fixture(scope="session")
def exported(tiny_run: run_directory.Run) -> dict:
    """The report of an export of the tiny run, in every format."""
    # A net of two epochs is unsure of itself, so int8 may well change some of its answers.
    return export(tiny_run, ExportConfig(formats=("tflite", "onnx", "saved_model"), max_drop=100))


# How far the probabilities of a file are from the network's, in the mean over images and classes.
# Whatever the seed and the kernels, rounding leaves 0.0006 to 0.003 where activations or weights
# have 8 bits and 0.015 to 0.03 where weights have 4; other weights leave some 0.1. How many answers
# it changes, and how far the worst is off, depends on how sure the network happens to be.
NEAR = {8: 0.01, 4: 0.06}


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The mean absolute difference of two arrays of probabilities [images, classes]."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).mean())


@pytest.fixture
def run_copy(tiny_run: run_directory.Run, tmp_path: Path) -> Path:
    """A copy of the tiny run's directory, to be spoilt."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.directory, copy, ignore=shutil.ignore_patterns("export"))
    return copy


def write_images(folder: Path, classes: dict[str, int], size: tuple[int, int] = (20, 24)) -> Path:
    """Write noise JPEGs, ``classes[name]`` of them in ``folder/name``; return the folder.

    Folders of other names (train, val) get other pictures.
    """
    rng = np.random.default_rng(list(folder.name.encode()))
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BLOCKED = "Security Policy"
needs_browser = pytest.mark.skipif(
    not CHROMIUM or importlib.util.find_spec("playwright") is None,
    reason="needs Chromium, pip install playwright, and tfresnet demo --fetch",
)


def with_slow(quick: list, slow: list) -> list:
    """Parameters, of which some are for the slow tests only."""
    return [*quick, *(pytest.param(each, marks=pytest.mark.slow) for each in slow)]


@pytest.fixture
def serve():
    """Start servers of sites; they end with the test."""
    servers = []

    def start(models, samples=()):
        server = demo.server(demo.pages(models, samples), 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def page(serve):
    """A function that opens the page of some models in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def opened(models, samples=()):
            found = browser.new_page()
            errors = []
            # The interpreters write their news to stderr, which is the console's "error" here.
            found.on("console", lambda m: errors.append(m.text) if BLOCKED in m.text else None)
            found.on("pageerror", lambda error: errors.append(str(error)))
            found.goto(f"http://127.0.0.1:{serve(models, samples)}/")
            found.locator("#status", has_text=re.compile(r"Ready\.|could not")).wait_for()
            assert not errors
            return found

        yield opened
        browser.close()
