"""Options of a command that are made from the fields of a configuration section."""

import re
from collections.abc import Callable, Container, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from tfresnet.config.sections import Section

METAVARS = {int: "N", float: "X", str: "TEXT"}


class SectionOption(click.Option):
    """An option that sets one key of a section; its value is the text that was given.

    The text is read and checked where that of ``--set`` and of YAML files is.
    """

    def __init__(self, *declarations: Any, key: str, choices: tuple[str, ...] = (), **more: Any):
        super().__init__(*declarations, **more)
        self.key, self.choices = key, choices

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return the choices that begin with ``incomplete``."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


def section_option(
    section: "type[Section]",
    field: str,
    key: str = "",
    opposite: str = "",
    flag: str = "",
    show_default: bool = False,
) -> Callable[[Callable], Callable]:
    """Return the decorator that adds an option for a field; type, range and help are the field's.

    Args:
        section: the class with the field.
        field: its name; the option is called the same, with dashes, and so is the parameter.
        key: the name by which errors call the field, such as ``train.lr``; by default ``field``.
        opposite: the option for False, of a boolean or a field that may be ``auto`` as well:
            ``--post-activation``.
        flag: another name for the option, such as ``--quantize`` for ``quantizations``.
        show_default: show the field's default in the help, unless it is None or a boolean.

    Without the option the parameter is None, of a field with several values an empty tuple.
    """
    info = section.model_fields[field]
    kind, several = _value_type(info.annotation)
    choices = tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()
    name = flag or f"--{field.replace('_', '-')}"
    has_default = show_default and info.default is not None and kind is not bool
    facts = [f"default: {info.default}"] if has_default else []
    facts += [limits] if (limits := _range(info)) else []
    shown = f"  [{'; '.join(facts)}]" if facts else ""
    settings: dict[str, Any] = {
        "key": key or field,
        "choices": choices,
        "help": f"{info.description or ''}{shown}",
        "default": None,
    }
    if kind is bool or opposite:
        return click.option(
            f"{name}/{opposite}" if opposite else name, field, cls=SectionOption,
            is_flag=True, **settings,
        )  # fmt: skip
    metavar = f"[{'|'.join(choices)}]" if choices else METAVARS.get(kind, "VALUE")
    if several:
        settings.pop("default")
    return click.option(
        name, field, cls=SectionOption, metavar=metavar, multiple=several, **settings
    )


def _value_type(annotation: Any) -> tuple[Any, bool]:
    """Return the type of one value of a field, without None, and whether there may be several."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    return annotation, False


def _range(info: "FieldInfo") -> str:
    """Return a field's range as click writes it: ``x>=1`` or ``0<=x<1``; empty without one."""

    def bound(inclusive: str, exclusive: str) -> tuple[str, str]:
        for name, equal in ((inclusive, "="), (exclusive, "")):
            for limit in info.metadata:
                if getattr(limit, name, None) is not None:
                    return equal, str(getattr(limit, name))
        return "", ""

    (low_equal, low), (high_equal, high) = bound("ge", "gt"), bound("le", "lt")
    if low and high:
        return f"{low}<{low_equal}x<{high_equal}{high}"
    return f"x>{low_equal}{low}" if low else f"x<{high_equal}{high}" if high else ""


def with_flags(message: str) -> str:
    """Return an error's message as the user of a command reads it, see :func:`renamed`."""
    context = click.get_current_context(silent=True)
    options = [o for o in context.command.params if isinstance(o, SectionOption)] if context else []
    given = [option.key for option in options if context and _is_given(option, context)]
    return renamed(message, {option.key: option.opts[0] for option in options}, given)


def _is_given(option: click.Option, context: click.Context) -> bool:
    return context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE


def renamed(message: str, flags: Mapping[str, str], given: Container[str]) -> str:
    """Return a message of the library, which names keys, with the options of a command.

    Args:
        message: ``train.lr: expected ..., got ...; try train.lr=0.1``. The keys before the first
            colon are those that are wrong; what stands behind the last semicolon is advice.
        flags: the options by their keys: ``{"train.lr": "--lr"}``.
        given: the keys that were set by an option; a wrong value came from there.
    """
    keys, colon, rest = message.partition(": ")
    wrong = ", ".join(flags[key] if key in given else key for key in keys.split(", "))
    text, semicolon, advice = f"{wrong}{colon}{rest}".rpartition("; ")
    for key, flag in flags.items():
        advice = re.sub(rf"(?<![\w.]){re.escape(key)}=true\b", flag, advice)
        advice = re.sub(rf"(?<![\w.]){re.escape(key)}=(?=\S)", f"{flag} ", advice)
    return f"{text}{semicolon}{advice}" if semicolon else f"{wrong}{colon}{rest}"
