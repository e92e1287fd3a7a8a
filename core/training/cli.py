"""What every command shares: verbs, flags, and errors that are one line and an exit code.

    COMMANDS = {"show": Command("draw where a trained model looks", Show)}    # glimpse/__main__.py
    cli.main("glimpse", COMMANDS)

`Show` is a dataclass whose fields are the flags; the command's work is `main(arguments)` in
glimpse/show.py. Flags are parsed before that file, and with it torch, is imported: --help and
mistakes in flags are answered at once.

Exit codes: 0 done; 1 some of several files failed; 2 bad input, in one line on standard error;
130, 143 stopped by SIGINT, SIGTERM; 141 the reader of standard output closed it.
"""

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeVar

import tyro
from tyro._errors import ParseErrorEvent, on_parse_error

from core.errors import InputError
from core.training.config import require_sound
from core.training.flags import RULES
from core.training.rejections import reason

A = TypeVar("A")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Flags of every command that computes; their arguments inherit them."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: cuda if there is one, else mps, else cpu."""
    threads: int = 1
    """CPU threads."""


class Parser(Protocol):
    """What parses the arguments of a command whose flags are more than one dataclass."""

    def parse(self, prog: str, argv: Sequence[str]) -> Any:
        """Return the arguments of the command `prog`."""


class Command(NamedTuple):
    """One command of an application."""

    summary: str
    """What it does, in a line."""
    arguments: type | Parser
    """A dataclass of its flags, or what parses them."""
    module: str | None = None
    """Where its `main` stands, if not in the module of its name."""

    def parse(self, prog: str, argv: Sequence[str]) -> Any:
        """Return the arguments as an instance of the dataclass."""
        if isinstance(self.arguments, type):
            return parse(self.arguments, prog, argv)
        return self.arguments.parse(prog, argv)


Commands = Mapping[str, "Command | Commands"]


def main(app: str, commands: Commands, argv: Sequence[str] | None = None) -> int:
    """Run the command named first in `argv`; return the exit code.

    Args:
        app: the application as it is called: "glimpse", "sequences charlm".
        commands: its commands by name, or those of its parts.
        argv: the arguments; by default the process's.
    """
    if argv is None:
        argv = sys.argv[1:]
    name, *rest = argv or [""]
    command = commands.get(name)
    prog = f"{app} {name}"
    if isinstance(command, Command):
        return guard(prog, lambda rest: run(prog, command, rest), rest)
    if command is not None:
        return main(prog, command, rest)
    asked_for_help = name in ("-h", "--help")
    text = _usage(app, commands)
    if name and not asked_for_help:
        text = f"{app}: there is no command {name!r}\n{text}"
    if asked_for_help:
        print(text)
        return 0
    print(text, file=sys.stderr)
    return 2


def run(prog: str, command: Command, argv: Sequence[str]) -> None:
    """Parse the arguments, then import the module that does the work and run it."""
    arguments = command.parse(prog, argv)
    importlib.import_module(command.module or module_of(prog)).main(arguments)


def call(prog: str, argv: Sequence[str]) -> None:
    """Run one command by its whole name, such as "glimpse show", without `guard`."""
    app, *verbs = prog.split()
    command: Any = importlib.import_module(f"{app}.__main__").COMMANDS
    for verb in verbs:
        command = command[verb]
    run(prog, command, argv)


def script(prog: str, argv: Sequence[str] | None = None) -> int:
    """Run one command by its whole name, as `python -m glimpse.show` does; return the exit code."""
    return guard(prog, lambda argv: call(prog, argv), argv)


def guard(
    prog: str, command: Callable[[list[str]], object], argv: Sequence[str] | None = None
) -> int:
    """Run `command(argv)`; what its user can mend becomes one line on standard error.

    Returns:
        The exit code. Errors that only a programmer can mend keep their traceback.
    """
    try:
        _require_own_datasets()
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # a library's warnings are for programmers
        command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except InputError as error:
        return _fail(prog, str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `head` has enough; the flush at exit must not fail as well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno is None:  # not from the system
            raise
        name = error.filename or "standard output, or a file"
        return _fail(prog, f"{name}: {error.strerror}")
    except Exception as error:
        place = _full_memory(error)
        if not place:
            raise
        return _fail(prog, f"{place} memory is full: use a smaller batch or model")
    return 0


def parse(arguments: type[A], prog: str, argv: Sequence[str], **options: Any) -> A:
    """Parse flags into the dataclass `arguments`; `options` are those of `tyro.cli`.

    Raises:
        InputError: a flag is unknown, missing or of another type, or a number is negative or not
            finite.
        SystemExit: after printing the help, for --help.
    """

    def reject(event: ParseErrorEvent) -> None:
        raise InputError(f"{reason(event, arguments)} ({prog} --help lists the flags)")

    options = {"config": (tyro.conf.FlagCreatePairsOff,), **options}
    with on_parse_error(reject), RULES:
        parsed = tyro.cli(arguments, prog=prog, args=list(argv), **options)
    require_sound(parsed)
    return parsed


def require_no_run(paths: Iterable[str]) -> None:
    """Raise InputError if a path, of what a net is to be applied to, is a run or a checkpoint."""
    for path in map(Path, paths):
        files = (path / name for name in ("best.pt", "last.pt"))
        if path.suffix == ".pt" or any(map(os.path.isfile, files)):
            raise InputError(f"{path} is a run: give it as --run {path}")


def for_each(prog: str, items: Iterable[Item], work: Callable[[Item], object]) -> None:
    """Do the work for each item; an `InputError` costs that item only and is printed at once.

    Raises:
        SystemExit: code 1 if some items failed, 2 if all did.
    """
    done, failed = 0, 0
    for item in items:
        try:
            work(item)
        except InputError as error:
            failed += 1
            _fail(prog, str(error))
        else:
            done += 1
    if failed:
        raise SystemExit(1 if done else 2)


def standard_input() -> BinaryIO:
    """Return the bytes of standard input; raises `InputError` if it is closed."""
    if sys.stdin is None:
        raise InputError("standard input is closed")
    return sys.stdin.buffer


def text_lines() -> Iterator[str]:
    """Yield the lines of standard input, each as soon as it is read and without its end.

    Raises:
        InputError: standard input is closed, or a line, which is named, is not text in UTF-8.
    """
    for number, line in enumerate(iter(standard_input().readline, b""), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:  # UTF-16 without a mark is full of them
            raise InputError(
                f"standard input: line {number} is not UTF-8; convert it to that encoding"
            )
        yield text.rstrip("\r\n")


def write(text: str) -> None:
    """Write text to standard output at once, even where the terminal lacks letters of it."""
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def say(line: str) -> None:
    """Write a line as `write` does."""
    write(f"{line}\n")


def module_of(prog: str) -> str:
    """Return the module of a command: glimpse.show for "glimpse show"."""
    return prog.replace(" ", ".")


def _usage(app: str, commands: Commands) -> str:
    lines = [f"usage: {app} {{{','.join(commands)}}} ...", ""]
    for name, command in commands.items():
        if isinstance(command, Command):
            lines.append(f"  {name:12}{command.summary}")
        else:
            lines.append(f"  {name:12}{_parts(command)}")
    lines += ["", f"{app} COMMAND --help says more about one of them."]
    return "\n".join(lines)


def _parts(commands: Commands) -> str:
    """Return what a group of commands does: their names or, of a single one, its summary."""
    [(name, first), *others] = commands.items()
    if others or not isinstance(first, Command):
        return ", ".join(commands)
    return f"{name}: {first.summary}"


def _fail(prog: str, line: str) -> int:
    print(f"{prog}: {line}", file=sys.stderr)
    return 2


def _full_memory(error: Exception) -> str:
    """Return whose memory is full by an error, or an empty string."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return "the GPU's"
    by_torch = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if by_torch or isinstance(error, MemoryError):
        return "the machine's"
    return ""


def _require_own_datasets() -> None:
    """Our package `datasets` shares its import name with another one, which may hide ours."""
    spec = importlib.util.find_spec("datasets")
    folder = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if folder != Path(__file__).resolve().parents[2] / "datasets":
        hint = "uninstall it, or use `uv run`"
        raise InputError(f"the package `datasets` in {folder} hides ours: {hint}")
