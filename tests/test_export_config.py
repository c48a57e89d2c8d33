"""What can be exported: an impossible export is refused alike from Python and in a shell."""

import pytest

from tests.test_cli import refused
from tfresnet.config import formats
from tfresnet.config.export import ExportConfig
from tfresnet.runtime.errors import InputError

FINE_TUNED = "expected one of the formats tflite, tflm, got onnx"
IMPOSSIBLE = [
    # Values in Python, the same options in a shell, the key that is to blame, and why.
    ({"formats": ("onnx",), "quantizations": ("int4",)}, "--onnx --quantize int4",
     "quantizations", "expected float32, float16, int8, which onnx can have, got int4"),
    ({"formats": ("tflite",), "interface": "integer"}, "--tflite --interface integer",
     "interface", "expected only the quantizations int8, int16x8, int4, int4_mixed with integer, "
     "got float32, float16, dynamic"),
    ({"formats": ("onnx",), "quantizations": ("int8",), "interface": "integer"},
     "--onnx --quantize int8 --interface integer",
     "interface", "expected uint8 or float for onnx, got integer"),
    ({"formats": ("saved_model",), "interface": "float"}, "--saved-model --interface float",
     "interface", "expected uint8 for saved_model, got float"),
    ({"formats": ("tflm",), "batch": 4}, "--tflm --batch 4",
     "batch", "expected none for tflm, where it is 1, got 4"),
    ({"formats": ("onnx",), "prune": 0.5}, "--onnx --prune 0.5", "prune", FINE_TUNED),
    ({"formats": ("onnx",), "cluster": 16}, "--onnx --cluster 16", "cluster", FINE_TUNED),
    ({"cluster": 1}, "--cluster 1", "cluster", "expected 0 (off) or at least 2 clusters, got 1"),
    ({"cluster": 2, "prune": 0.5}, "--cluster 2 --prune 0.5",
     "cluster", "expected at least 3 with prune (one is 0), got 2"),
    ({"prune": 0.6, "sparsity": "2:4"}, "--prune 0.6 --sparsity 2:4",
     "prune", "expected 0.5 with the sparsity 2:4, got 0.6"),
    ({"features": True, "qat_epochs": 1}, "--features --qat-epochs 1",
     "features", "expected no qat_epochs beside it, got both"),
    ({"features": True, "prune": 0.5}, "--features --prune 0.5",
     "features", "expected no prune beside it, got both"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "options", "key", "reason"), IMPOSSIBLE)
def test_what_does_not_go_together_is_refused(tiny_run, values, options, key, reason):
    with pytest.raises(InputError) as error:
        ExportConfig(**values)
    assert str(error.value) == f"{key}: {reason}"
    flag = "--quantize" if key == "quantizations" else f"--{key}"
    assert f"{flag}: {reason}" in refused("export", tiny_run.directory, *options.split())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantizations": ("int9",)}, "quantizations: unknown quantization 'int9': did you mean"),
        ({"quantizations": ("int8_selective",)}, "quantizations: unknown quantization"),
        ({"formats": ("tflight",)}, "formats: unknown format 'tflight': did you mean 'tflite'?"),
        ({"formats": ()}, "formats: expected at least one, got ()"),
        ({"interface": "uint9"}, "interface: expected 'uint8', 'integer' or 'float', got 'uint9'"),
        ({"opset": 19}, "opset: expected less than or equal to 18, got 19"),
        ({"prune": 1.0}, "prune: expected less than 1, got 1.0"),
        ({"calibration_images": 0}, "calibration_images: expected greater than or equal to 1"),
        ({"max_drop": float("nan")}, "max_drop: expected"),
        ({"batch": 1.5}, "batch: expected"),
        ({"quantisations": ("int8",)}, "unknown key 'quantisations': did you mean 'quantizations'"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_its_key(values, message):
    with pytest.raises(InputError) as error:
        ExportConfig(**values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_other_values_are_checked_too():
    config = ExportConfig(formats=["tflite"], quantizations=("int8", "int8"))
    assert (config.formats, config.quantizations) == (("tflite",), ("int8",))
    assert config.replaced(batch=4).batch == 4
    with pytest.raises(InputError, match="quantizations: expected float32, which saved_model"):
        config.replaced(formats=("saved_model",))


def test_every_format_has_a_converter_and_quantizations():
    from tfresnet.deploy.formats import table

    for row in formats.FORMATS.values():
        assert table.format_of(row).row is row
        assert row.quantizations
        assert set(row.interfaces) <= set(formats.INTERFACES)
