"""The flags of a training command: a preset, the fields of a configuration, and the session."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

import tyro

from core.errors import InputError
from core.training.cli import Computing, module_of, parse
from core.training.config import LoopConfig, differences, read_config

if TYPE_CHECKING:
    from core.training.run import Run


class TrainConfig(Protocol):
    """The configuration of an application: a frozen dataclass; `loop` says how to train."""

    @property
    def loop(self) -> LoopConfig:
        """How to train."""
        ...


C = TypeVar("C", bound=TrainConfig)

RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
"""The argument of commands on a trained model: its run directory or checkpoint."""
FilePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
"""The argument of commands that write a file, or read one."""


@dataclass(frozen=True, kw_only=True)
class Session(Computing):
    """Where and how to run; not saved in the configuration."""

    graph: bool = False
    """On CUDA, capture the training step as one graph (not yet run on a GPU)."""
    quiet: bool = False
    """Plain lines instead of a progress bar."""
    runs: Path = Path("runs")
    """Where the directories of runs are kept."""
    name: str | None = None
    """Name of the new run; by default its preset's, with -2, -3, ... where that is taken."""
    resume: Path | None = None
    """Directory of a run to go on with, in its own configuration."""


@dataclass(frozen=True)
class TrainArguments(Generic[C]):
    """The parsed arguments of a training command."""

    config: C
    session: Session
    prog: str
    """The command as it is called: "glimpse train", "sequences addition"."""
    app: str
    """The application as it is called; its last word names it in files."""
    preset: str

    def start(self) -> "tuple[C, Session, Run]":
        """Seed torch; return the configuration, the session and the run.

        The run's directory does not exist yet, unless it is resumed: then it is locked.

        Raises:
            InputError: another process trains in the directory that is to be resumed.
        """
        import torch

        from core.training import distributed
        from core.training.run import Run

        torch.manual_seed(self.config.loop.seed)
        session = self.session
        app = self.app.split()[-1]
        run = Run(
            session.resume or session.runs / app / (session.name or self.preset),
            app,
            self.config,
            resume=self.resume_command(),
            numbered=not session.name and not session.resume,
            quiet=session.quiet,
            writes=distributed.rank() == 0,
        )
        if session.resume:
            run.reserve()
        return self.config, session, run

    def resume_command(self) -> str:
        """Return the command that goes on with the run, but for its directory."""
        session = self.session
        command = self.prog
        program = Path(sys.argv[0]).stem
        if processes := os.environ.get("LOCAL_WORLD_SIZE"):
            words = ["torchrun", "--nproc-per-node", processes, "-m", module_of(command)]
        elif _is_script():
            words = ["python", sys.argv[0]]
        elif program == command.split()[0]:
            words = command.split()
        else:
            words = ["python", "-m", module_of(command)]
        if "UV" in os.environ:
            words = ["uv", "run", *words]
        if session.device != "auto":
            words += ["--device", session.device]
        if session.threads != 1:
            words += ["--threads", str(session.threads)]
        if session.graph:
            words += ["--graph"]
        return shlex.join([*words, "--resume"])


@dataclass(frozen=True)
class Training(Generic[C]):
    """How the arguments of a training command are parsed.

    Args:
        config: the configuration; each field, those of `loop` too, is a flag.
        presets: named configurations for flags to start from; the first is the default.
        notes: for the help, a line on each preset: the result and time to expect.
    """

    config: type[C]
    presets: Mapping[str, C]
    notes: Mapping[str, str]

    def parse(self, prog: str, argv: Sequence[str]) -> TrainArguments[C]:
        """Parse the flags of the command `prog`.

        Raises:
            InputError: a number out of range, an unknown preset or one that needs data, a name
                that is taken, or a run to resume that is none or has another configuration.
        """
        app = prog.removesuffix(" train")
        first = argparse.ArgumentParser(
            prog, add_help=False, allow_abbrev=False, exit_on_error=False
        )
        first.add_argument("--preset", nargs="?")
        first.add_argument("--resume", nargs="?", type=Path)
        named, _ = first.parse_known_args(argv)  # these two decide what the other flags start from
        preset = named.preset or next(iter(self.presets))
        if preset not in self.presets:
            raise InputError(f"there is no preset {preset!r}, only {', '.join(self.presets)}")
        saved = None
        if named.resume:
            saved = read_config(named.resume, app.split()[-1], self.config)
        default = saved if saved is not None and not named.preset else self.presets[preset]
        parsed = self._parse_flags(prog, argv, preset, default)
        if saved is not None and (unlike := differences(saved, parsed.config)):
            told = f"{named.resume} has another configuration; {'; '.join(unlike)}"
            raise InputError(f"{told}: leave that out, or begin a new run{_start(saved)}")
        _require_data(preset, self.presets[preset], parsed.config)
        arguments = TrainArguments(parsed.config, parsed.session, prog, app, preset)
        _check_name(arguments)
        return arguments

    def _parse_flags(self, prog: str, argv: Sequence[str], preset: str, default: C) -> Any:
        notes = " ".join(f"{name}: {note}." for name, note in self.notes.items())
        text = tyro.conf.arg(help=f"What the flags start from. {notes}")
        choice = Annotated[Literal[tuple(self.presets)], text]
        flags = make_dataclass(
            "Flags",
            [
                ("preset", choice),
                ("config", self.config),
                ("session", Session, field(default=Session())),
            ],
        )
        return parse(
            tyro.conf.OmitArgPrefixes[flags],
            prog,
            argv,
            description="",
            default=flags(preset, default),
            config=(),
        )


def _is_script() -> bool:
    """Whether this process runs a file NAME.py, rather than a module or an installed command."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None) or ""
    return main.__spec__ is None and file.endswith(".py")


def _start(config: Any) -> str:
    """Return how a new run takes the weights of an old one, where an application has that."""
    return " from its weights with --start" if hasattr(config, "start") else ""


def _require_data(preset: str, named: TrainConfig, parsed: TrainConfig) -> None:
    """Refuse data without a name, and a preset whose placeholder, as FOLDER, was not replaced."""
    data = getattr(parsed, "data", None)
    names = [data] if isinstance(data, str) else list(data or ())
    if "" in names:
        raise InputError("--data is empty")
    if data != getattr(named, "data", None):
        return
    placeholder = any(Path(name).stem in ("FOLDER", "FILE", "PREFIX") for name in names)
    if placeholder and not Path(names[0]).exists():
        flag = f"--data {' '.join(names)}"
        raise InputError(f"--preset {preset} learns from data of your own: add {flag}")


def _check_name(arguments: TrainArguments[Any]) -> None:
    """Refuse a name that is a path, names no new run, or is taken."""
    session = arguments.session
    if session.name is None:
        return
    if session.name != Path(session.name).name or session.name in ("", ".", ".."):
        hint = "--runs says where it lies"
        raise InputError(f"--name {session.name}: the name of a folder, not a path; {hint}")
    if session.resume:
        raise InputError("--name is for a new run and --resume for an old one: give one of them")
    directory = session.runs / arguments.app.split()[-1] / session.name
    if (directory / "config.json").exists():
        hint = f"choose another --name, or go on with --resume {directory}"
        raise InputError(f"{directory} is taken: {hint}")


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Make one small file of a trained model, its weights rounded, to keep or to ship."""

    run: RunPath
    """Run directory or checkpoint."""
    file: FilePath
    """The file to write, NAME.pt."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write one step of a trained net as a file that runs without this package."""

    run: RunPath
    """Run directory or checkpoint."""
    file: FilePath
    """The file to write: NAME.pt2 for PyTorch, NAME.onnx for ONNX Runtime."""
