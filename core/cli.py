"""What every command shares: verbs, flags, presets, devices, and errors that are one line and an exit code.

Exit codes: 0 done; 2 bad input, told in one line on standard error; 130, 143 stopped by SIGINT, SIGTERM.
"""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Protocol, TypeVar

import torch
import tyro

from core import distributed
from core.config import differences
from core.errors import InputError
from core.log import Run, read_config
from core.recipe import LoopConfig


class TrainConfig(Protocol):
    """The configuration of an application: a frozen dataclass that says, among other things, how to train."""

    @property
    def loop(self) -> LoopConfig:
        """How to train."""
        ...


C = TypeVar("C", bound=TrainConfig)
Verbs = Mapping[str, "str | Verbs"]  # each with a summary of one line, or with the verbs of a part of the application


@dataclass(frozen=True)
class Session:
    """What is not part of the run's configuration."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: cuda if there is one, else mps, else cpu."""
    threads: int = 1
    """CPU threads. More make short steps slower, and change the order of sums and so their last bits."""
    graph: bool = True
    """On CUDA, capture the training step as one graph, where its shapes and its work do not depend on the data."""
    quiet: bool = False
    """Plain lines instead of a progress bar."""
    runs: Path = Path("runs")
    """Where the directories of runs are kept."""
    name: str | None = None
    """Name of the new run; by default its preset's, followed by -2, -3, ... where that is taken."""
    resume: Path | None = None
    """Directory of a run to go on with, in its own configuration."""


def main(app: str, verbs: Verbs, argv: Sequence[str] | None = None) -> int:
    """Run the verb named first in `argv`: `main` of the module app.verb, imported only now.

    Args:
        app: the application as it is called, its package with dots: "glimpse", "sequences charlm".
        verbs: its commands, each with a summary of one line or with commands of its own.
        argv: the arguments; by default the process's.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if argv is None else argv
    verb, *rest = given or [""]
    chosen, prog = verbs.get(verb), f"{app} {verb}"
    if isinstance(chosen, Mapping):
        return main(prog, chosen, rest)
    if chosen:
        return guard(prog, lambda rest: importlib.import_module(_module(prog)).main(rest), rest)
    asked = verb in ("-h", "--help")
    lines = [f"usage: {app} {{{','.join(verbs)}}} ...", ""]
    summaries = {name: says if isinstance(says, str) else ", ".join(says) for name, says in verbs.items()}
    lines += [f"  {name:12}{summary}" for name, summary in summaries.items()]
    lines += ["", f"{app} {next(iter(verbs))} --help says more about one of them."]
    if verb and not asked:
        lines = [f"{app}: there is no command {verb!r}", *lines]
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


def guard(prog: str, command: Callable[[list[str]], object], argv: Sequence[str] | None = None) -> int:
    """Run `command(argv)`; what its user can mend becomes one line on standard error.

    Returns:
        The exit code. Errors that only a programmer can mend keep their traceback.
    """
    try:
        _require_own_datasets()
        command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except InputError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, e.g. `head`, has enough; the flush at exit must not fail as well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except torch.OutOfMemoryError:
        print(f"{prog}: the GPU's memory is full: use a smaller batch, or --device cpu", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno is None:  # not from the system
            raise
        print(f"{prog}: {error.filename or 'standard output, or a file'}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def device(name: str = "auto", threads: int = 1) -> torch.device:
    """Set the number of CPU threads; return the device of that name.

    Raises:
        InputError: this machine has no such device.
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    torch.set_num_threads(threads)
    found = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    if name == "auto":
        name = found[0]
    if name not in found:
        raise InputError(f"this machine has no device {name}, only {' and '.join(found)}: change --device")
    if name != "cuda":
        return torch.device(name)
    if distributed.gpu().index >= torch.cuda.device_count():
        raise InputError(f"there are {torch.cuda.device_count()} GPUs, one a process: lower --nproc-per-node")
    return distributed.gpu()


def standard_input() -> BinaryIO:
    """The bytes of standard input; InputError if it is closed."""
    if sys.stdin is None:
        raise InputError("standard input is closed")
    return sys.stdin.buffer


def say(line: str) -> None:
    """Print a line at once, also where the terminal lacks letters of it or a file name is no text."""
    encoding = sys.stdout.encoding
    print(line.encode(encoding, "replace").decode(encoding), flush=True)


def parse_train(
    app: str,
    cls: type[C],
    presets: Mapping[str, C],
    argv: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
    verb: str = "train",
) -> tuple[C, Session, Run]:
    """Parse the flags of a training command, and seed torch.

    Args:
        app: the application as it is called; its last word names it in files, `runs/charlm` for "sequences charlm".
        cls: its configuration; each field, those of `loop` too, is a flag.
        presets: named configurations for flags to start from; the first is the default.
        argv: the arguments; by default the process's.
        notes: for the help, a line on each preset: the result and time to expect.
        verb: the command; empty if the application has no other.

    Returns:
        The configuration, the session and the run, whose directory does not exist yet unless it is resumed.

    Raises:
        InputError: a number out of range, an unknown preset or one that needs data, a name that is taken, or a run
            to resume that is none or has another configuration than the flags say.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = f"{app} {verb}".strip()
    first = argparse.ArgumentParser(command, add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--resume", type=Path)
    asked, _ = first.parse_known_args(argv)  # these two decide what the other flags start from
    preset = asked.preset or next(iter(presets))
    if preset not in presets:
        raise InputError(f"there is no preset {preset!r}, only {', '.join(presets)}")
    saved = read_config(asked.resume, _name(app), cls) if asked.resume else None
    start = presets[preset] if asked.preset or saved is None else saved

    about = " ".join(f"{name}: {note}." for name, note in (notes or {}).items())
    choice = Annotated[Literal[tuple(presets)], tyro.conf.arg(help=f"What the flags start from. {about}")]
    flags = make_dataclass(
        "Flags", [("preset", choice), ("config", cls), ("session", Session, field(default=Session()))]
    )
    parsed: Any = tyro.cli(
        tyro.conf.OmitArgPrefixes[flags],
        prog=command,
        description="",
        args=argv,
        default=flags(preset, start),
    )
    if saved is not None and (unlike := differences(saved, parsed.config)):
        raise InputError(f"{asked.resume} has another configuration; {'; '.join(unlike)}")
    _require_data(preset, *(getattr(each, "data", None) for each in (presets[preset], parsed.config)))
    torch.manual_seed(parsed.config.loop.seed)
    return parsed.config, parsed.session, _run(app, command, parsed.config, parsed.session, preset)


def _require_data(preset: str, named: str | Sequence[str] | None, data: str | Sequence[str] | None) -> None:
    """Presets for data of the user's own have names in capitals in its place, as FOLDER or FILE.neg."""
    names = [data] if isinstance(data, str) else list(data or ())
    unnamed = any(Path(name).stem in ("FOLDER", "FILE", "PREFIX") for name in names)
    if data == named and unnamed and not Path(names[0]).exists():
        raise InputError(f"--preset {preset} learns from data of your own: add --data {' '.join(names)}")


def _run(app: str, command: str, config: TrainConfig, session: Session, preset: str) -> Run:
    """The run that a session asks for."""
    directory = session.resume or session.runs / _name(app) / (session.name or preset)
    if session.name and session.name != Path(session.name).name:
        raise InputError(f"--name {session.name}: the name of a folder, not a path; --runs says where it lies")
    if session.name and session.resume:
        raise InputError("--name is for a new run and --resume for an old one: give one of them")
    if session.name and (directory / "config.json").exists():
        raise InputError(f"{directory} is taken: choose another --name, or go on with --resume {directory}")
    options = [f"--device {session.device}"] * (session.device != "auto")
    options += [f"--threads {session.threads}"] * (session.threads != 1)
    options += ["--no-graph"] * (not session.graph)
    return Run(
        directory,
        _name(app),
        config,
        resume=" ".join([_invocation(command), *options, "--resume"]),
        numbered=not session.name and not session.resume,
        quiet=session.quiet,
        writes=distributed.rank() == 0,
    )


def _invocation(command: str) -> str:
    """How this training command was started."""
    module = _module(command)
    if distributed.world() > 1:
        return f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']} -m {module}"
    start = command if Path(sys.argv[0]).stem == command.split()[0] else f"python -m {module}"
    return f"uv run {start}" if "UV" in os.environ else start


def _module(command: str) -> str:
    return command.replace(" ", ".")


def _name(app: str) -> str:
    return app.split()[-1]


def _require_own_datasets() -> None:
    """Our package `datasets` shares its import name with Hugging Face's, which may come first on the path."""
    found = importlib.util.find_spec("datasets")
    where = Path(found.origin).resolve().parent if found and found.origin else None
    if where != Path(__file__).resolve().parent.parent / "datasets":
        raise InputError(f"the package `datasets` in {where} hides ours: uninstall it, or use `uv run`")
