"""ResNet-50 at 224 px, random weights: one image in LiteRT, onnxruntime and PyTorch.

    python benchmarks/resnet50_latency.py

All in one process on the same cores, in alternating rounds; medians. PyTorch (2.13, channels_last)
runs eagerly, compiled, and quantized by FX graph mode for x86, each where it works; its network is
that of tests/test_torch_parity.py. As there, uninstall triton first.
"""

import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import click
import numpy as np
import tensorflow as tf  # noqa: F401  (before onnx)
import torch

from tests import test_torch_parity as peers
from tfresnet.config.sections import ModelConfig
from tfresnet.deploy.device.benchmark import example
from tfresnet.deploy.formats import onnx_format, tflite
from tfresnet.models import zoo
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.spec import InputSpec, OutputSpec

Party = Callable[[], object]
SIZE = 224


def files(folder: Path) -> dict[str, Path]:
    """Convert ResNet-50 for both runtimes; ranges are of random images."""
    spec = InputSpec(SIZE, SIZE)
    output = OutputSpec("classification", tuple(map(str, range(1000))))
    model = zoo.build(ModelConfig(arch="resnet50"), spec.shape, 1000)
    images = np.random.default_rng(0).integers(0, 256, (8, *spec.shape), np.uint8)
    found = {}
    for kind in ("float32", "int8"):
        for form, convert in (("tflite", tflite.convert), ("onnx", onnx_format.convert)):
            content = convert(model, spec, output, kind, images, batch=1)
            path = folder / f"resnet50_{kind}.{form}"
            path.write_bytes(content)
            found[f"{'LiteRT' if form == 'tflite' else 'onnxruntime'} {kind}"] = path
    return found


def runtime(path: Path, threads: int) -> Party:
    """Return one image through the device's runtime, its input copied in."""
    model = open_model(path, threads)
    image = example(model)

    def run() -> None:
        model.set_input(image)
        model.invoke()

    return run


def pytorch() -> dict[str, Party]:
    """Return what PyTorch has for one image."""
    images = torch.randn(1, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    net = peers.Net(**peers.NETS["resnet50"], classes=1000, cifar=False).eval()
    net = net.to(memory_format=torch.channels_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that FX graph mode will go one day
        from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

        torch.backends.quantized.engine = "x86"
        prepared = quantize_fx.prepare_fx(net, get_default_qconfig_mapping("x86"), (images,))
        prepared(images)
        quantized = quantize_fx.convert_fx(prepared)
    nets = {"float32": net, "float32 compiled": torch.compile(net), "int8": quantized}
    return {f"PyTorch {name}": (lambda net=net: net(images)) for name, net in nets.items()}


@click.command()
@click.option("--rounds", default=15, show_default=True)
@click.option("--threads", default=1, show_default=True)
@torch.inference_mode()
def main(rounds: int, threads: int) -> None:
    """Print the medians, and each int8 against its float32."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        parties = {name: runtime(path, threads) for name, path in files(Path(folder)).items()}
        parties |= pytorch()
        for name, run in list(parties.items()):
            try:
                for _ in range(3):
                    run()
            except Exception as error:  # torch.compile needs a C++ compiler
                click.echo(f"{name} does not run here: {type(error).__name__}")
                del parties[name]
        times: dict[str, list[float]] = {name: [] for name in parties}
        for turn in range(rounds):
            for name in sorted(parties, reverse=bool(turn % 2)):
                started = time.perf_counter()
                for _ in range(3):
                    parties[name]()
                times[name].append((time.perf_counter() - started) / 3)
    for name, found in times.items():
        median = statistics.median(found)
        base = statistics.median(times.get(f"{name.split()[0]} float32", found))
        click.echo(f"{name:<26}{1000 * median:8.2f} ms   {base / median:.2f} x its float32")


if __name__ == "__main__":
    main()
