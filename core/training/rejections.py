"""Why flags were rejected, in a few words."""

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro
from tyro import _errors as rejections  # the only place that says why a flag was rejected

EMPTY_PATH = "the path is empty"
"""Why `core.training.cli` refuses an empty path, in the words of its error."""


def reason(event: rejections.ParseErrorEvent, arguments: Any) -> str:
    """Say in a few words why flags of the dataclass `arguments` were rejected."""
    if isinstance(event, rejections.UnrecognizedArgs):
        unknown = event.tokens[0]
        if unknown in _positionals(arguments):
            return f"unknown argument {unknown!r}; give its value alone, without {unknown}"
        return f"unknown argument {unknown!r}{_did_you_mean(unknown, _flags(arguments))}"
    if isinstance(event, rejections.MissingArgs):
        names = ", ".join(_name(missing.arg) for missing in event.missing_arguments)
        return f"missing {names}"
    if isinstance(event, rejections.InvalidChoice):
        choices = _choices(event)
        hint = _did_you_mean(event.value, choices)
        listed = ", ".join(choices)
        return f"{_name(event.argument)} is one of {listed}, not {event.value!r}{hint}"
    argument: Any = getattr(event, "argument", None)
    if argument is None:
        return "these arguments cannot be combined"
    if _is_empty_path(event, argument):
        return f"{_name(argument)}: {EMPTY_PATH}"
    if argument.is_positional():
        if getattr(event, "reason", None) == "too_few_values":
            return f"missing {_name(argument)}, which is given without a flag"
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


def _flags(arguments: Any) -> list[str]:
    """List the flags of a dataclass and of those in it."""
    return [flag for flag, positional in _arguments(arguments) if not positional]


def _positionals(arguments: Any) -> list[str]:
    """List what would be the flags of the arguments that are given without one."""
    return [flag for flag, positional in _arguments(arguments) if positional]


def _arguments(arguments: Any) -> Iterator[tuple[str, bool]]:
    """Yield --NAME for the fields of a dataclass and of those in it; is the field positional?"""
    if get_origin(arguments) is Annotated:
        arguments = get_args(arguments)[0]
    for name, hint in get_type_hints(arguments, include_extras=True).items():
        plain, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if is_dataclass(plain):
            yield from _arguments(plain)
        else:
            yield f"--{name.replace('_', '-')}", tyro.conf.Positional in marks


def _name(argument: Any) -> str:
    """Return a flag as it is typed, or the name of a positional argument."""
    if argument.is_positional():
        return argument.lowered.metavar
    return argument.lowered.name_or_flags[-1]


def _choices(event: rejections.InvalidChoice) -> list[str]:
    """Return the choices as --help lists them; tyro shuffles those beside which None is one."""
    metavar = event.argument.lowered.metavar or ""
    return sorted((choice for choice in event.choices if choice != "None"), key=metavar.find)


SINGULAR = {"INT": "an integer", "FLOAT": "a number", "STR": "a text", "PATH": "a path"}
PLURAL = {"INT": "integers", "FLOAT": "numbers", "STR": "texts", "PATH": "paths"}


def _kind(metavar: str) -> str:
    """Say what a flag takes, from its metavar: `INT`, `INT INT` or `[INT ...]`."""
    if metavar in SINGULAR:
        return SINGULAR[metavar]
    names = metavar.strip("[]").split()
    plural = PLURAL.get(names[0]) if names else None
    if plural is None or set(names) - {names[0], "..."}:
        return metavar
    return plural if "..." in names else f"{len(names)} {plural}"
