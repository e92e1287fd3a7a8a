import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from core.errors import InputError
from core.training.config import (
    differences,
    from_dict,
    require_at_least,
    require_positive,
    require_share,
    require_within,
    to_dict,
)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    size: tuple[int, int] | None = None
    widths: tuple[float, ...] = (1.0, 2.0)
    name: str = "x"
    deep: bool = False
    inner: Inner = field(default_factory=Inner)
    late: int = field(default=7, metadata={"added": True})


@pytest.mark.parametrize("config", [Outer(), Outer((3, 4), (), "y", True, Inner(1e-30, "b"))])
def test_json_and_back(config: Outer) -> None:
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config)))) == config


def test_whole_numbers_may_stand_for_floats() -> None:
    rate = from_dict(Inner, {"rate": 1, "kind": "a"}).rate
    assert rate == 1.0
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"speed": 1}, "f.json: unknown field speed"),
        ({"name": ...}, "f.json: missing field name"),
        ({"name": 3}, "f.json: name cannot be 3"),
        ({"deep": 1}, "f.json: deep cannot be 1"),
        ({"size": [1]}, "f.json: size cannot be [1]"),
        ({"size": [1, "2"]}, "f.json: size cannot be"),
        ({"widths": 3}, "f.json: widths cannot be 3"),
        ({"inner": {"rate": 1, "kind": "c"}}, "f.json: kind cannot be 'c'"),
        ({"inner": {"rate": True, "kind": "a"}}, "f.json: rate cannot be True"),
        ({"inner": None}, "f.json: inner cannot be None"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], line: str) -> None:
    data = {
        name: value for name, value in {**to_dict(Outer()), **change}.items() if value is not ...
    }
    with pytest.raises(InputError, match=re.escape(line)):
        from_dict(Outer, data, "f.json")


def test_a_field_added_later_may_be_missing() -> None:
    data = to_dict(Outer(name="y", late=8))
    assert from_dict(Outer, data).late == 8
    del data["late"]
    assert from_dict(Outer, data) == Outer(name="y")


def test_a_value_that_is_no_dict_is_refused() -> None:
    with pytest.raises(InputError, match=r"f\.json: the whole cannot be 3"):
        from_dict(Outer, 3, "f.json")


@pytest.mark.parametrize(
    ("require", "good", "bad", "line"),
    [
        (
            partial(require_at_least, 1),
            (1, 7, None),
            (0, -1, math.nan),
            "name must be at least 1, not ",
        ),
        (
            partial(require_at_least, 0),
            (0, 0.5, None),
            (-1, math.nan),
            "name must be at least 0, not ",
        ),
        (
            partial(require_within, 1, 3),
            (1, 3, None),
            (0, 4, math.nan),
            "name must be from 1 to 3, not ",
        ),
        (
            require_share,
            (0, 0.999, None),
            (1, -0.1, math.nan),
            "name must be from 0 to below 1, not ",
        ),
        (
            require_positive,
            (1e-9, 3, None),
            (0, math.inf, math.nan),
            "name must be above 0 and finite, not ",
        ),
    ],
)
def test_what_is_out_of_range_is_named(
    require: Callable[..., None], good: tuple[float, ...], bad: tuple[float, ...], line: str
) -> None:
    for value in good:
        require(SimpleNamespace(name=value, other=value), "name", "other")
    for value in bad:
        with pytest.raises(InputError, match=f"{line}{value}"):
            require(SimpleNamespace(other=good[0], name=value), "other", "name")


def test_differences_are_named_at_any_depth() -> None:
    assert differences(Outer(), Outer()) == []
    other = Outer(size=(1, 2), inner=Inner(rate=0.25))
    assert differences(Outer(), other) == [
        "size: saved None, given (1, 2)",
        "rate: saved 0.5, given 0.25",
    ]
