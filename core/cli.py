"""What every command shares: verbs, flags and presets, devices, and errors that are one line and an exit code.

Exit codes: 0 done; 2 bad input, said in one line on standard error; 130 and 143 stopped by SIGINT and SIGTERM.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import torch
import tyro

from core import distributed
from core.config import differences
from core.errors import InputError
from core.log import Run, read_config
from core.recipe import LoopConfig



class TrainConfig(Protocol):
    """An application's configuration: a frozen dataclass that says, among other things, how to train."""

    @property
    def loop(self) -> LoopConfig: ...  # noqa: D102


C = TypeVar("C", bound=TrainConfig)


@dataclass(frozen=True)
class Session:
    """What does not change the result."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes cuda, else mps, else cpu."""
    threads: int = 1
    """CPU threads; for steps this short one is the fastest, and the last bits of a sum depend on their number."""
    quiet: bool = False
    """Print plain lines instead of a progress bar."""
    runs: Path = Path("runs")
    """Where the directories of runs are kept."""
    name: str | None = None
    """Name of the new run, by default its preset's, with -2, -3, ... if there is one already."""
    resume: Path | None = None
    """Directory of a run to go on with; its configuration holds."""


def main(app: str, verbs: Mapping[str, str], argv: Sequence[str] | None = None) -> int:
    """The console script `app`: run `main(argv)` of the module app.verb, imported only now. Returns the exit code.

    Args:
        app: the application's package.
        verbs: its commands, each with a summary of one line.
        argv: the arguments; by default the process's.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in verbs:
        verb = argv[0]
        return guard(f"{app} {verb}", lambda rest: importlib.import_module(f"{app}.{verb}").main(rest), argv[1:])
    wanted = argv[:1] in (["--help"], ["-h"])
    out = sys.stdout if wanted else sys.stderr
    if argv and not wanted:
        print(f"{app}: there is no command {argv[0]!r}", file=out)
    width = max(map(len, verbs))
    print(f"usage: {app} COMMAND ...   ({app} COMMAND --help for more)", file=out)
    for verb, summary in verbs.items():
        print(f"  {verb:{width}}  {summary}", file=out)
    return 0 if wanted else 2


def guard(prog: str, command: Callable[[list[str]], object], argv: Sequence[str] | None = None) -> int:
    """Run a command; what its user can mend becomes one line on standard error. Returns the exit code."""
    try:
        _require_own_datasets()
        command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except InputError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, e.g. `head`, has enough; flushing at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"{prog}: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def parse_train(
    app: str,
    cls: type[C],
    presets: Mapping[str, C],
    argv: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> tuple[C, Session, Run]:
    """The configuration of a training command, how to run it, and the run it belongs to; seeds torch.

    Args:
        app: the application.
        cls: its configuration, a frozen dataclass with a field `loop: LoopConfig`; each field becomes a flag.
        presets: named configurations; flags override their fields. The first is the default.
        argv: the arguments; by default the process's.
        notes: a line for some presets, for the help, e.g. the result to expect.

    Raises:
        InputError: an unknown preset, a name that is taken, or a run to resume that has another configuration.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    early = argparse.ArgumentParser(f"{app} train", add_help=False, allow_abbrev=False)
    early.add_argument("--preset")
    early.add_argument("--resume", type=Path)
    given, _ = early.parse_known_args(argv)
    if given.preset is not None and given.preset not in presets:
        raise InputError(f"there is no preset {given.preset!r}; there are {', '.join(presets)}")
    preset = given.preset or next(iter(presets))
    saved = read_config(given.resume, cls) if given.resume else None
    start = presets[preset] if given.preset or saved is None else saved
    config, session = _flags(f"{app} train", cls, start, preset, presets, notes or {}, argv)
    if saved is not None and (unlike := differences(saved, config)):
        raise InputError(f"{given.resume} belongs to another configuration ({'; '.join(unlike)})")
    torch.manual_seed(config.loop.seed)
    return config, session, _run(app, config, session, preset)


def device(name: str = "auto", threads: int = 1) -> torch.device:
    """The device of that name, and the number of CPU threads set.

    Raises:
        InputError: there is no such device.
    """
    torch.set_num_threads(threads)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, found in there.items() if found)
    if not there.get(name):
        raise InputError(f"there is no {name} device here; there is {', '.join(k for k in there if there[k])}")
    return distributed.local_device() if name == "cuda" else torch.device(name)


def _flags(
    prog: str, cls: type[C], start: C, preset: str, presets: Mapping[str, C], notes: Mapping[str, str], argv: list[str]
) -> tuple[C, Session]:
    """Parse all flags, with the configuration `start` as the defaults."""
    about = "  ".join(f"{name}: {notes[name]}." for name in presets if name in notes)
    arguments = make_dataclass(
        "Arguments",
        [
            ("preset", Annotated[Literal[tuple(presets)], tyro.conf.arg(help=f"Where flags start from. {about}")]),
            ("config", cls),
            ("session", Session, field(default=Session())),
        ],
    )
    parsed: Any = tyro.cli(
        tyro.conf.OmitArgPrefixes[arguments], args=argv, prog=prog, default=arguments(preset, start), description=""
    )
    return parsed.config, parsed.session


def _run(app: str, config: Any, session: Session, preset: str) -> Run:
    directory = session.resume or session.runs / app / (session.name or preset)
    if session.name and not session.resume and (directory / "config.json").exists():
        raise InputError(f"{directory} holds a run: go on with --resume {directory}, or choose another --name")
    if session.name and session.resume:
        raise InputError("--name is for a new run; --resume goes on with an old one")
    kept = [
        f" --{f.name} {getattr(session, f.name)}"
        for f in fields(session)
        if f.name in ("device", "threads") and getattr(session, f.name) != f.default
    ]
    return Run(
        directory,
        app,
        config,
        resume=f"{_invocation(app)}{''.join(kept)} --resume",
        numbered=not session.resume and not session.name,
        quiet=session.quiet,
        writes=distributed.rank() == 0,
    )


def _invocation(app: str) -> str:
    """How the user started this training command."""
    if distributed.world() > 1:
        return f"torchrun --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', '1')} -m {app}.train"
    start = f"{app} train" if Path(sys.argv[0]).stem == app else f"python -m {app}.train"
    return f"uv run {start}" if "UV" in os.environ else start


def _require_own_datasets() -> None:
    """Hugging Face's package has the import name of ours; where it comes first nothing would work."""
    import datasets

    ours = Path(__file__).parent.parent / "datasets"
    if ours != Path(datasets.__file__ or "").parent:
        raise InputError(f"the package `datasets` at {datasets.__file__} hides ours: uninstall it, or use `uv run`")
