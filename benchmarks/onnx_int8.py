"""int8 ONNX files by each choice of types: accuracy, agreement and time, with and without VNNI.

    python benchmarks/onnx_int8.py make RUN FOLDER [--images 2000] [--files 7bit_gptq,u8s8]
    python benchmarks/onnx_int8.py measure FOLDER [--images 2000] [--files 7bit_gptq,u8s8]
    python benchmarks/onnx_int8.py latency FOLDER [--files 7bit_gptq,u8s8]

``measure`` needs numpy and onnxruntime alone, so that a processor without VNNI can be emulated by
Debian's qemu-user (QEMU 7.2 has AVX2 and no AVX-512, whatever it runs on):

    PYTHONPATH=.../site-packages qemu-x86_64 -cpu max python3 benchmarks/onnx_int8.py measure FOLDER

Each file is opened with session.x64quantprecision at 0 and at 1. Latencies are CPU time of one
image on one thread, the least of many rounds in which the files take turns.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS, RUNS = 15, 30
# What quantize_static is told; the types are names of its QuantType.
CHOICES = {
    "7bit_gptq": {"nearest": False},  # what tfresnet exports
    "7bit": {},
    "u8s8": {"reduce_range": False},  # onnxruntime's usual choice
    "u8u8": {"reduce_range": False, "weight_type": "QUInt8"},
    "s8s8": {"reduce_range": False, "activation_type": "QInt8"},
}


def make(directory: Path, folder: Path, count: int, names: list[str]) -> None:
    """Write a file for each choice, and the answers of the checkpoint and of int8 TFLite."""
    from tfresnet import evaluation, tasks
    from tfresnet.data import pipeline
    from tfresnet.deploy import calibration
    from tfresnet.deploy.formats import onnx_format, onnx_graph, onnx_int8, tflite, wrap
    from tfresnet.runs import run_directory
    from tfresnet.runtime.backends import open_model

    folder.mkdir(parents=True, exist_ok=True)
    run = run_directory.open_run(directory)
    model, data, spec, output = run.model(), run.dataset(), run.spec, run.output
    images = calibration.draw(data.train, 500, 0, tasks.of(output)).images
    batches = pipeline.raw_batches(data.held_out, 100, count)
    pixels, classes = evaluation.collect(lambda images: images, batches)
    predict = evaluation.network_predict(model, spec, tasks.of(output))
    exact, _ = evaluation.collect(predict, batches)
    (folder / "int8.tflite").write_bytes(tflite.convert(model, spec, output, "int8", images))
    given = {"pixels": pixels, "classes": classes, "checkpoint": exact}
    given["tflite"] = open_model(folder / "int8.tflite").run(pixels)
    np.savez(folder / "answers.npz", **given)
    function = wrap.from_centered_pixels(model, spec, output, None)
    floating = onnx_format.convert(model, spec, output, "float32", interface="float", layout="nchw")
    (folder / "float32.onnx").write_bytes(floating)
    for name, choices in CHOICES.items():
        if names and name not in names:
            continue
        proto = onnx_graph.simplified(onnx_format._translate(function, 18, True))
        (folder / f"{name}.onnx").write_bytes(_quantized(onnx_int8, proto, images, choices))


def _quantized(onnx_int8, proto, images, choices) -> bytes:
    from onnxruntime import quantization as tools

    types = {k: getattr(tools.QuantType, v) for k, v in choices.items() if isinstance(v, str)}
    proto = onnx_int8.quantize(proto, images, **{"nearest": True} | choices | types)
    onnx_int8.leave_logits_float(proto)
    return proto.SerializeToString()


def measure(folder: Path, count: int, names: list[str]) -> None:
    """Print a line for each file and setting; ``names`` of files without their endings."""
    given = {name: values[:count] for name, values in np.load(folder / "answers.npz").items()}
    pixels = _normalized(given["pixels"])
    for name in ("checkpoint", "tflite"):
        _show(name, given[name], given)
    for name, session in _sessions(folder, names):
        parts = [pixels[i : i + 50] for i in range(0, len(pixels), 50)]
        _show(name, np.concatenate([_run(session, part) for part in parts]), given)


def latency(folder: Path, names: list[str]) -> None:
    """Print CPU milliseconds of one image for each file and setting."""
    image = _normalized(np.load(folder / "answers.npz")["pixels"][:1])
    sessions = dict(_sessions(folder, names))
    least = dict.fromkeys(sessions, np.inf)
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            started = time.process_time()
            for _ in range(RUNS):
                _run(session, image)
            least[name] = min(least[name], 1000 * (time.process_time() - started) / RUNS)
    for name, milliseconds in least.items():
        print(f"{name:<14} {milliseconds:.4f}")


def _normalized(pixels: np.ndarray) -> np.ndarray:
    return ((pixels.astype(np.float32) - 128) / 128).transpose(0, 3, 1, 2)


def _sessions(folder: Path, names: list[str]) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.glob("*.onnx")):
        if names and path.stem not in names:
            continue
        for precise in ("0", "1"):
            yield f"{path.stem} {precise}", _open(path, precise)


def _open(path: Path, precise: str):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.add_session_config_entry("session.x64quantprecision", precise)
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def _run(session, images: np.ndarray) -> np.ndarray:
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _show(name: str, answers: np.ndarray, given: dict[str, np.ndarray]) -> None:
    classes, found = given["classes"], answers.argmax(1)
    true = np.maximum(answers[np.arange(len(answers)), classes], 1e-12)
    error = np.abs(answers - given["checkpoint"]).max(axis=1)
    same = {of: (found == given[of].argmax(1)).mean() for of in ("checkpoint", "tflite")}
    print(
        f"{name:<14} top-1 {(found == classes).mean():7.2%}  loss {-np.log(true).mean():.4f}  "
        f"agrees with checkpoint {same['checkpoint']:7.2%}, TFLite {same['tflite']:7.2%}  "
        f"off by more than 0.05: {(error > 0.05).sum()} of {len(error)}",
        flush=True,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["make", "measure", "latency"])
    parser.add_argument("folders", nargs="+", type=Path, metavar="[RUN] FOLDER")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--files", default="", help="names without .onnx; all by default")
    given = parser.parse_args()
    names = [name for name in given.files.split(",") if name]
    if given.command == "make":
        make(*given.folders, given.images, names)
    elif given.command == "measure":
        measure(*given.folders, given.images, names)
    else:
        latency(*given.folders, names)


if __name__ == "__main__":
    main()
