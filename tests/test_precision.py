"""What the processor is, and what is fast on it: decided once in a run's life."""

import platform

import psutil
import pytest

from tests.conftest import TINY
from tfresnet.config import loading
from tfresnet.runs.train_run import train
from tfresnet.system import environment
from tfresnet.training import precision


def processor_with(monkeypatch, *flags: str) -> None:
    monkeypatch.setattr(environment, "processor_flags", lambda: set(flags))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["avx2"], "float32"),
        (["avx512f", "avx512_vnni"], "float32"),
        (["avx512_bf16"], "mixed_bfloat16"),
        (["amx_bf16"], "mixed_bfloat16"),
    ],
)
def test_auto_is_bfloat16_only_where_there_are_instructions_for_it(monkeypatch, flags, expected):
    processor_with(monkeypatch, *flags)
    assert precision.resolve("auto") == expected
    assert precision.advice(expected) is None
    assert precision.resolve("mixed_float16") == "mixed_float16"
    assert "float32 is many times faster" in precision.advice("mixed_float16")
    assert (precision.advice("mixed_bfloat16") is None) == (expected == "mixed_bfloat16")


def test_nothing_is_said_of_a_processor_that_is_not_known(monkeypatch):
    processor_with(monkeypatch)
    assert precision.advice("mixed_bfloat16") is None


def test_a_run_keeps_the_precision_that_it_began_with(tmp_path, monkeypatch):
    config = loading.load("quickstart", [*TINY, "train.precision=auto"])
    processor_with(monkeypatch, "avx2")
    assert train(config, tmp_path / "run").config.train.precision == "float32"
    processor_with(monkeypatch, "amx_bf16")  # it goes on on a better machine
    assert train(config, tmp_path / "run", resume=True).config.train.precision == "float32"


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (
            "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\n",
            "AMD EPYC (family 25, model 17)",
            {"fpu", "avx2"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n", platform.processor(), set()),
        (None, platform.processor(), set()),
    ],
    ids=["x86", "arm", "not Linux"],
)
def test_a_processor_is_named_with_its_generation(tmp_path, monkeypatch, text, name, flags):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    if text:
        environment.CPUINFO.write_text(text)
    assert environment.processor() == name
    assert environment.processor_flags() == flags


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1048576\n", 2**20), ("max\n", None), (f"{2**62}\n", None), (None, None)],
)
def test_memory_is_the_machines_or_its_containers(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(environment, "CONTAINER_MEMORY", tmp_path / "memory.max")
    if text:
        environment.CONTAINER_MEMORY.write_text(text)
    assert environment.memory() == (expected or psutil.virtual_memory().total)
