"""The inputs of the robustness benchmark."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.robustness import APPS
from benchmarks.valid_inputs import training_lines, valid_lines
from core.training import cli


def programs(commands: cli.Commands, prog: str) -> Iterator[str]:
    for name, command in commands.items():
        if isinstance(command, cli.Command):
            yield f"{prog} {name}"
        else:
            yield from programs(command, f"{prog} {name}")


def test_each_command_has_a_valid_line():
    every: set[str] = set()
    for app in APPS:
        every |= set(programs(importlib.import_module(f"{app}.__main__").COMMANDS, app))
    lines = [*training_lines(Path()).values(), *valid_lines(Path())]
    assert {line.prog for line in lines} == every
