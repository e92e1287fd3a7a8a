"""Why flags were rejected, in a few words."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro import _errors as rejections  # the only place that says why a flag was rejected

EMPTY_PATH = "the path is empty"
"""Why `core.training.cli` refuses an empty path, in the words of its error."""


def reason(event: rejections.ParseErrorEvent, arguments: Any) -> str:
    """Say in a few words why flags of the dataclass `arguments` were rejected."""
    if isinstance(event, rejections.UnrecognizedArgs):
        unknown = event.tokens[0]
        return f"unknown argument {unknown!r}{_did_you_mean(unknown, _flags(arguments))}"
    if isinstance(event, rejections.MissingArgs):
        names = ", ".join(_name(missing.arg) for missing in event.missing_arguments)
        return f"missing {names}"
    if isinstance(event, rejections.InvalidChoice):
        choices = ", ".join(event.choices)
        hint = _did_you_mean(event.value, event.choices)
        return f"{_name(event.argument)} is one of {choices}, not {event.value!r}{hint}"
    argument: Any = getattr(event, "argument", None)
    if argument is None:
        return "these arguments cannot be combined"
    if _is_empty_path(event, argument):
        return f"{_name(argument)}: {EMPTY_PATH}"
    if argument.is_positional():
        return f"{_name(argument)} has a value that it cannot have"
    kind = _kind(argument.lowered.metavar or "")
    return f"{_name(argument)} takes {kind}"


def _is_empty_path(event: rejections.ParseErrorEvent, argument: Any) -> bool:
    if not isinstance(event, rejections.InstantiationFailure):
        return False
    # Of several paths tyro's message lists the values only, not the error of the empty one.
    listed = argument.is_positional() and "''" in event.message
    return EMPTY_PATH in event.message or listed


def _did_you_mean(word: str, choices: Iterable[str]) -> str:
    near = get_close_matches(word, list(choices), 1)
    if not near:
        return ""
    return f"; did you mean {near[0]}?"


def _flags(arguments: Any) -> Iterator[str]:
    """Yield the flags of a dataclass and of those in it."""
    if get_origin(arguments) is Annotated:
        arguments = get_args(arguments)[0]
    hints = get_type_hints(arguments)
    for field in fields(arguments):
        if is_dataclass(hints[field.name]):
            yield from _flags(hints[field.name])
        else:
            yield f"--{field.name.replace('_', '-')}"


def _name(argument: Any) -> str:
    """Return a flag as it is typed, or the name of a positional argument."""
    if argument.is_positional():
        return argument.lowered.metavar
    return argument.lowered.name_or_flags[-1]


def _kind(metavar: str) -> str:
    """Say what a flag takes, from tyro's notation such as `{None}|{INT INT}`."""
    parts = [part.strip("{}[]") for part in metavar.split("|")]
    kinds = [part for part in parts if part != "None"]
    words = {"INT": "an integer", "FLOAT": "a number", "STR": "a text", "PATH": "a path"}
    return " or ".join(words.get(kind, kind) for kind in kinds)
