"""Which file the bundle holds, by the processor that it is for."""

import platform
from pathlib import Path

import pytest

from tests.conftest import export
from tests.test_cli import refused
from tfresnet.config import processors
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FORMATS
from tfresnet.config.processors import PROCESSORS
from tfresnet.deploy import choice
from tfresnet.deploy.formats.delegates import DELEGATES
from tfresnet.deploy.report.console import slower_line
from tfresnet.runs import run_directory
from tfresnet.runs.result import ArtifactRecord

NOBODY, EDGE_TPU = {"edgetpu": "part", "ethos-u": "none"}, {"edgetpu": "all", "ethos-u": "part"}
# Of a processor without fast integers: path, bytes, milliseconds, delegates.
FILES = [
    ("tflite", "float32", 400, 0.30, NOBODY),
    ("tflite", "dynamic", 100, 0.40, NOBODY),
    ("tflite", "int8", 100, 0.39, NOBODY),
    ("tflite", "int16x8", 101, 2.0, EDGE_TPU),
    ("tflm", "int8", 90, 0.38, NOBODY),
    ("onnx", "float32", 390, 0.31, None),
    ("onnx", "int8", 110, 0.20, None),
]
RECORDS = choice.compared(
    [
        ArtifactRecord(path=f"run/export/{form}-{kind}", format=form, quantization=kind,
                       bytes=size, latency_ms=ms, delegates=delegates)
        for form, kind, size, ms, delegates in FILES
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("target", "flags", "expected"),
    [
        ("any", {"avx2"}, "tflite-int8"),
        ("here", {"avx2"}, "onnx-int8"),  # the fastest
        ("cpu-avx2", {"avx2"}, "onnx-int8"),  # this machine's kind: measured
        ("cpu-avx2", {"avx2", "avx512_vnni"}, "tflite-float32"),  # another: a rule
        ("cpu-vnni", {"avx2"}, "tflite-int8"),
        ("arm64", {"avx2"}, "tflite-int8"),
        ("mcu", {"avx2"}, "tflm-int8"),
        ("npu", {"avx2"}, "tflite-int16x8"),  # the only one that is taken as a whole
    ],
)
def test_a_processor_gets_the_file_that_is_fastest_there(monkeypatch, target, flags, expected):
    monkeypatch.setattr(processors.environment, "processor_flags", lambda: flags)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    processor = PROCESSORS[target]
    if target == "here":
        assert processor.flags  # whatever this machine is
        monkeypatch.setattr(platform, "machine", lambda: next(iter(processor.flags)))
    found = choice.best(RECORDS, processor)
    assert Path(found.path).name == expected
    assert choice.reason(found, processor)


def test_of_two_as_fast_the_smaller_one_is_taken():
    here, (float32, *_, other, _) = PROCESSORS["here"], RECORDS
    assert choice.best([float32, other], here) is other  # 390 and 400 bytes, 0.31 and 0.30 ms
    failed = [r.model_copy(update={"failures": ["x"]}) for r in RECORDS]
    assert choice.best(failed, here) is None


def test_what_is_slower_than_float32_is_named():
    from tfresnet.deploy.records import Report

    speeds = {Path(r.path).name: r.speedup for r in RECORDS}
    assert speeds["tflm-int8"] == pytest.approx(0.30 / 0.38)  # LiteRT runs it, too
    assert speeds["onnx-int8"] == pytest.approx(0.31 / 0.20)
    assert slower_line(Report(artifacts=RECORDS)) == (
        "Slower than float32 on this machine: tflite-dynamic (1.33 x its time), "
        "tflite-int8 (1.30 x its time), tflite-int16x8 (6.67 x its time), "
        "tflm-int8 (1.27 x its time)"
    )
    assert slower_line(Report(artifacts=RECORDS[-2:])) is None


def test_a_target_brings_its_formats():
    for processor in PROCESSORS.values():
        config = ExportConfig(target=processor.name)
        if processor.formats:
            assert config.rows == list(processor.formats)
            assert config.interface == processor.interface
        assert set(processor.delegates) <= {d.name for d in DELEGATES}
        assert set(processor.formats) <= set(FORMATS.values())
    given = ExportConfig(target="npu", interface="uint8", formats=("tflite", "onnx"))
    assert (given.interface, given.formats) == ("uint8", ("tflite", "onnx"))


def test_a_target_that_can_not_run_the_formats_is_refused(tiny_run):
    assert "expected tflm for the target mcu, got onnx" in refused(
        "export", tiny_run.directory, "--onnx", "--target", "mcu"
    )
    assert "--target: expected 'any', 'here'" in refused(
        "export", tiny_run.directory, "--target", "toaster"
    )


def test_the_bundle_of_a_microcontroller_is_for_its_firmware(run_copy):
    config = ExportConfig(target="mcu", max_drop=100, verify_images=20, calibration_images=20)
    report = export(run_directory.open_run(run_copy), config)
    assert [a["format"] for a in report["artifacts"]] == ["tflm"]
    assert report["target"] == "mcu"
    bundle = Path(report["bundle"])
    assert {p.name for p in bundle.iterdir()} == {
        "README.md", "model.cc", "model.h", "model_int8.tflite",
    }  # fmt: skip
    readme = " ".join((bundle / "README.md").read_text().split())
    assert "TFLite Micro has fast kernels for integers only" in readme


def test_an_npu_gets_a_file_that_it_runs_as_a_whole(run_copy):
    config = ExportConfig(target="npu", max_drop=100, verify_images=20, calibration_images=20)
    report = export(run_directory.open_run(run_copy), config)
    (artifact,) = report["artifacts"]
    assert artifact["delegates"]["edgetpu"] == artifact["delegates"]["ethos-u"] == "all"
    assert "integers only" in report["bundle_reason"]
    readme = " ".join((Path(report["bundle"]) / "README.md").read_text().split())
    assert "it computes with integers only" in readme
