"""int8 ONNX files by each choice of types: accuracy, agreement and time, with and without VNNI.

    python benchmarks/onnx_int8.py make RUN FOLDER [IMAGES]
    python benchmarks/onnx_int8.py measure FOLDER [IMAGES]

``measure`` needs numpy and onnxruntime alone, so that a processor without VNNI can be emulated (the
times are then meaningless), by Debian's qemu-user:

    PYTHONPATH=.../site-packages qemu-x86_64 -cpu max python3 benchmarks/onnx_int8.py measure FOLDER

QEMU 7.2 has AVX2 and no AVX-512 whatever it runs on. Each file is opened with
session.x64quantprecision at 0 and at 1. Times are CPU time of one image on one thread, the least of
many rounds in which the files take turns.
"""

import sys
import time
from pathlib import Path

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


def make(directory: Path, folder: Path, count: int) -> None:
    """Write a file for each choice, and the answers of the checkpoint and of int8 TFLite."""
    from tfresnet import metrics
    from tfresnet import run as runs
    from tfresnet.data import pipeline
    from tfresnet.deploy import calibration
    from tfresnet.deploy.device.runtime import open_model
    from tfresnet.deploy.formats import onnx_format, onnx_graph, onnx_int8, tflite, wrap

    folder.mkdir(parents=True, exist_ok=True)
    run = runs.open_run(directory)
    model, data, spec = run.model(), run.dataset(), run.spec
    images = calibration.draw(data.train, 500, 0, set()).images
    batches = pipeline.raw_batches(data.held_out, 100, count)
    pixels, classes = metrics.collect(lambda images: images, batches)
    infer = metrics.probability_function(model)
    exact, _ = metrics.collect(lambda i: infer(pipeline.normalise(i, spec)), batches)
    (folder / "int8.tflite").write_bytes(tflite.convert(model, spec, "int8", images))
    given = {"pixels": pixels, "classes": classes, "checkpoint": exact}
    given["tflite"] = open_model(folder / "int8.tflite").run(pixels)
    np.savez(folder / "answers.npz", **given)
    function = wrap.from_centred_pixels(model, spec, None)
    floating = onnx_format.convert(model, spec, "float32", interface="float", layout="nchw")
    (folder / "float32.onnx").write_bytes(floating)
    for name, choices in CHOICES.items():
        proto = onnx_graph.simplified(onnx_format._translate(function, 18, True))
        (folder / f"{name}.onnx").write_bytes(_quantized(onnx_int8, proto, images, choices))


def _quantized(onnx_int8, proto, images, choices) -> bytes:
    from onnxruntime import quantization as tools

    types = {k: getattr(tools.QuantType, v) for k, v in choices.items() if isinstance(v, str)}
    proto = onnx_int8.quantize(proto, images, **{"nearest": True} | choices | types)
    onnx_int8.leave_logits_float(proto)
    return proto.SerializeToString()


def measure(folder: Path, count: int) -> None:
    """Print a line for each file and setting."""
    given = {name: values[:count] for name, values in np.load(folder / "answers.npz").items()}
    pixels = ((given["pixels"].astype(np.float32) - 128) / 128).transpose(0, 3, 1, 2)
    print("AVX-512 VNNI" if "avx512_vnni" in _flags() else "no AVX-512 VNNI", "by /proc/cpuinfo")
    for name in ("checkpoint", "tflite"):
        _show(name, given[name], given)
    sessions = {}
    for path in sorted(folder.glob("*.onnx")):
        for precise in ("0", "1"):
            name = f"{path.stem} {precise}"
            sessions[name] = session = _open(path, precise)
            parts = [pixels[i : i + 50] for i in range(0, len(pixels), 50)]
            answers = np.concatenate([_run(session, part) for part in parts])
            _show(name, answers, given)
    print("CPU milliseconds of one image")
    least = dict.fromkeys(sessions, np.inf)
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            started = time.process_time()
            for _ in range(RUNS):
                _run(session, pixels[:1])
            least[name] = min(least[name], 1000 * (time.process_time() - started) / RUNS)
    for name, milliseconds in least.items():
        print(f"{name:<14} {milliseconds:.4f}")


def _flags() -> str:
    return Path("/proc/cpuinfo").read_text()


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


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    images = int(paths.pop()) if paths[-1].isdigit() else 2000
    {"make": make, "measure": measure}[what](*map(Path, paths), images)
