"""How fields of dataclasses become flags, and what --help says of them.

tyro writes `--canvas {None}|{INT INT}` and `(default: None)`. Here it is `--canvas INT INT`; a
default is told where there is one, and None beside it where it may be given instead:
`(default: 20 20; may be None)`. The lines of a docstring are filled anew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from core.training.rejections import EMPTY_PATH

RULES = ConstructorRegistry()
"""Active while flags are parsed."""


@RULES.primitive_rule
def _path_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Parse paths; an empty one, which `Path` takes for the current folder, is none."""
    if info.type is not Path:
        return None

    def path(words: list[str]) -> Path:
        if not words[0]:
            raise ValueError(EMPTY_PATH)
        return Path(words[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=path,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


_delegating: list[bool] = []


@contextmanager
def _delegated() -> Iterator[None]:
    """Leave dataclasses to tyro's own rule."""
    _delegating.append(True)
    try:
        yield
    finally:
        _delegating.pop()


@RULES.struct_rule
def _dataclass_rule(info: StructTypeInfo) -> Any:
    """Take the fields as tyro does, and describe them in other words."""
    if _delegating or not is_dataclass(info.type):
        return None
    with _delegated():
        spec = ConstructorRegistry.get_struct_spec(info)
    if not isinstance(spec, StructConstructorSpec):
        return spec
    return replace(spec, fields=tuple(_described(field) for field in spec.fields))


def _described(field: StructFieldSpec) -> StructFieldSpec:
    """Return the field with another metavar, default and help text."""
    kind: Any = field.type
    value, *metadata = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if is_dataclass(value):
        return field
    words = tyro.conf.arg(
        metavar=_metavar(value),
        help_behavior_hint=lambda default: _default(default, _may_be_none(value)),
    )
    annotated: Any = Annotated[(value, words, *metadata)]
    return replace(field, type=annotated, helptext=_filled(field.helptext))


def _metavar(kind: Any) -> str | None:
    """Return how values of a type are written, or None where tyro writes it well."""
    if _may_be_none(kind):
        options = [option for option in get_args(kind) if option is not NoneType]
        others = reduce(or_, options)
        return _metavar(others) or _name(others)
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return f"[{_name(get_args(kind)[0])} ...]"
    return None


def _name(kind: Any) -> str | None:
    """Return how tyro writes values of a type."""
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, set()))
    return spec.metavar if isinstance(spec, PrimitiveConstructorSpec) else None


def _may_be_none(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _default(default: str, may_be_none: bool) -> str:
    """Return what is said of a default, written as on the command line."""
    if default in ("", "''", "None", "False"):
        return ""
    return f"(default: {default}; may be None)" if may_be_none else f"(default: {default})"


def _filled(text: str | Callable[[], str | None] | None) -> Callable[[], str | None]:
    """Return the text in one line, when it is asked for."""

    def filled() -> str | None:
        lines = text() if callable(text) else text
        return None if lines is None else " ".join(lines.split())

    return filled
