"""Options of commands: made from the sections' fields, and named where a value is wrong."""

from typing import Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from tests.test_cli import refused, tfresnet
from tfresnet.cli.configuration import FLAGS, SECTIONS
from tfresnet.cli.main import main
from tfresnet.cli.section_options import renamed, section_option
from tfresnet.config import loading
from tfresnet.config.sections import Section
from tfresnet.runtime.errors import InputError


class Example(Section):
    """A field of each kind."""

    size: int = Field(3, gt=0, le=9, description="How large.")
    share: float | None = Field(None, ge=0, description="How much.")
    pattern: Literal["plain", "2:4"] = Field("plain", description="Which.")
    kinds: tuple[Literal["a", "b"], ...] = Field(("a",), description="What kinds.")
    deep: bool = Field(False, description="Whether deep.")
    name: str | None = Field(None, description="What it is called.")


def example_of(*arguments: str) -> Example:
    """The section that a command with an option for each field gets."""
    found = []

    def command(**given):
        values = loading.parsed(Example, given)
        found.append(loading.checked(Example, values, "options", values))

    for field in Example.model_fields:
        flag = "--kind" if field == "kinds" else ""
        command = section_option(Example, field, flag=flag, show_default=True)(command)
    result = CliRunner().invoke(click.command()(command), arguments)
    if result.exception:
        raise result.exception
    return found[0]


def test_values_are_read_as_those_of_files():
    assert example_of() == Example()
    given = example_of(
        "--size", "4", "--share", "1e-1", "--pattern", "2:4", "--kind", "b", "--kind", "a",
        "--deep", "--name", "2024",
    )  # fmt: skip
    assert given == Example(
        size=4, share=0.1, pattern="2:4", kinds=("b", "a"), deep=True, name="2024"
    )


def test_a_bad_value_is_the_sections_to_refuse():
    with pytest.raises(InputError, match=r"^size: expected less than or equal to 9, got 10$"):
        example_of("--size", "10")
    with pytest.raises(InputError, match=r"^pattern: expected 'plain' or '2:4', got 'x'$"):
        example_of("--pattern", "x")


def test_help_is_the_fields():
    command = click.command("x")(lambda **given: None)
    for field in Example.model_fields:
        section_option(Example, field, show_default=field == "size")(command)
    text = " ".join(CliRunner().invoke(command, ["--help"]).stdout.split())
    assert "--size N How large. [default: 3; 0<x<=9]" in text
    assert "--share X How much. [x>=0]" in text
    assert "--pattern [plain|2:4] Which." in text
    assert "--deep Whether deep." in text


@pytest.mark.parametrize("name", ["train", "preview"])
def test_every_key_with_an_option_is_described_by_its_field(name):
    text = " ".join(tfresnet(name, "--help").stdout.split())
    options = {option.name: option for option in main.get_command(None, name).params}
    for parameter, key in FLAGS.items():
        section, _, field = key.partition(".")
        description = SECTIONS[section].model_fields[field].description
        assert options[parameter].help.startswith(description)
        assert " ".join(description.split()[:3]) in text


def test_who_gave_an_option_reads_its_name_and_who_gave_a_key_the_key():
    assert refused("train", "--lr", "-1") == "Error: --lr: expected greater than 0, got -1"
    by_key = refused("train", "--set", "train.lr=-1")
    assert by_key == "Error: train.lr: expected greater than 0, got -1"
    too_many = refused("train", "--batch-size", "5000")
    assert too_many.startswith("Error: --batch-size: expected at most 1437")
    assert too_many.endswith("; try --batch-size 32")


def test_a_value_of_a_file_is_said_to_be_in_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {lr: -1}\n")
    assert "mine.yaml: train.lr: expected greater than 0, got -1" in refused(
        "train", tmp_path / "mine.yaml"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("train.lr: expected x, got y", "--lr: expected x, got y"),
        ("train.lr, seed: expected one", "--lr, seed: expected one"),
        ("a file: train.lr: expected x", "a file: train.lr: expected x"),
        ("train.seed: got train.lr=1; try train.lr=2", "train.seed: got train.lr=1; try --lr 2"),
        ("got a; add data.skip_broken=true", "got a; add --skip-broken"),
        ("got a; set train.lr_2=1 or model.train.lr=2", None),
        ("nothing of this", None),
    ],
)
def test_keys_of_a_message_become_options(message, expected):
    flags = {"train.lr": "--lr", "data.skip_broken": "--skip-broken", "train.seed": "--seed"}
    assert renamed(message, flags, ["train.lr"]) == (expected or message)
