"""Whether compilers take what a character model writes (slides 41 to 43): LaTeX and C.

    uv run python -m benchmarks.samples_check latex TEXT --run RUN    # needs pdflatex (texlive)
    uv run python -m benchmarks.samples_check c TEXT --run RUN        # needs gcc

Prints a table for samples of the run, of a 6-gram model, and for pieces of the held-out real text,
prepared in the same way. Without --run there are only the last two.

LaTeX. Lines that begin or end a document or read other files are left out; the rest stands in a
document with the packages and theorem environments of
`samples_prologues.LATEX`. TeX mends what is wrong by
itself (it inserts a missing $ or }, skips an undefined command) and reports each repair as an
error: a sample compiles after at most N repairs if there are at most N errors and a PDF.

C. A sample is cut to whole declarations: from after its first line `}` to its last. Lines of the
preprocessor but #define are left out. Names that are unknown as types are declared as such, loops
in macros (for_each...) and macros in capitals at file level are defined. A sample parses if gcc
then reports no syntax error; undeclared names are none.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import samples_prologues
from benchmarks.entry import script
from core.errors import InputError
from datasets.text.corpora import open_corpus
from sequences.charlm.closing import counted_pieces, real_pieces
from sequences.charlm.config import Config
from sequences.charlm.data import first_number, split
from sequences.charlm.ngram import ORDER
from sequences.charlm.trained import open_model
from sequences.charlm.writing import texts

REPAIRS = (0, 5, 10, 20, 50)
SECONDS = 60  # that a compiler may take
ROUNDS = 20  # of gcc on one sample: each may name types that hid behind others
COUNTED = 8_000_000  # characters that the n-gram model counts, at most

NOT_BODY = re.compile(
    r"\\(documentclass|usepackage|input|include|bibliography|bibliographystyle|maketitle|title"
    r"|tableofcontents|(begin|end)\{document\})"
)

SYNTAX = re.compile(
    r"error: (expected|stray|missing terminating|unterminated|'else' without|unknown type name)"
)


def repairs_of(text: str, folder: Path) -> int | None:
    """Return the number of errors that TeX reports and mends; None if it gives up.

    Raises:
        InputError: there is no pdflatex.
    """
    lines = [line for line in text.splitlines() if not NOT_BODY.search(line)]
    document = "\n".join([samples_prologues.LATEX, *lines, r"\end{document}", ""])
    (folder / "sample.tex").write_text(document, encoding="utf-8")
    (folder / "sample.pdf").unlink(missing_ok=True)
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "sample.tex"]
    if _run(command, folder) is None:
        return None
    log = (folder / "sample.log").read_text(encoding="utf-8", errors="replace")
    errors = [line for line in log.splitlines() if line.startswith("!")]
    gave_up = any("Emergency stop" in line or "Fatal" in line for line in errors)
    return None if gave_up or not (folder / "sample.pdf").exists() else len(errors)


def declarations(text: str) -> str:
    """Return the whole declarations of a piece of C; empty if there is none."""
    lines = text.splitlines()
    ends = [n for n, line in enumerate(lines) if line.rstrip() in ("}", "};")]
    if len(ends) < 2:
        return ""
    kept = lines[ends[0] + 1 : ends[-1] + 1]
    return "\n".join(line for line in kept if not re.match(r"\s*#(?!\s*define)", line))


def syntax_errors(text: str, folder: Path) -> list[str]:
    """Return the lines of gcc on the syntax of whole declarations.

    Raises:
        InputError: there is no gcc.
    """
    code = declarations(text)
    loops = sorted(set(re.findall(r"\b\w*for_each\w*(?=\()", code)))
    calls = sorted(set(re.findall(r"^(?:static )?([A-Z][A-Z0-9_]+)(?=\()", code, re.MULTILINE)))
    types: list[str] = []
    reported: list[str] = []
    for _ in range(ROUNDS):
        prologue = samples_prologues.c_prologue(types, loops, calls)
        (folder / "sample.c").write_text(f"{prologue}\n{code}\n", encoding="utf-8")
        command = ["gcc", "-fsyntax-only", "-w", "-fmax-errors=0", "-std=gnu11", "sample.c"]
        output = _run(command, folder)
        if output is None:
            return ["gcc did not end"]
        reported = [line for line in output.splitlines() if SYNTAX.search(line)]
        unknown = re.findall(r"unknown type name '(\w+)'", output)
        unknown = [name for name in dict.fromkeys(unknown) if name not in types]
        if not unknown:
            break
        types += unknown
    return reported


def _run(command: list[str], folder: Path) -> str | None:
    """Return what a compiler prints, or None if it does not end."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": str(folder)}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode(errors="replace")


def latex_row(samples: list[str], folder: Path) -> list[str]:
    """Return for each number of repairs how many samples compile after at most so many."""
    repairs = [repairs_of(text, folder) for text in samples]
    return [str(sum(n is not None and n <= most for n in repairs)) for most in REPAIRS]


def c_row(samples: list[str], folder: Path) -> list[str]:
    """Return how many samples have whole declarations, how many parse, and syntax errors in all."""
    whole = [text for text in samples if declarations(text)]
    errors = [syntax_errors(text, folder) for text in whole]
    parsed = sum(not lines for lines in errors)
    return [str(len(whole)), str(parsed), str(sum(map(len, errors)))]


ROWS: dict[str, tuple[tuple[str, ...], Callable[[list[str], Path], list[str]]]] = {
    "latex": (tuple(f"at most {n}" for n in REPAIRS), latex_row),
    "c": (("with declarations", "parse", "syntax errors"), c_row),
}

TITLES = {"latex": "compile after N repairs", "c": "parse as C"}


def main(
    kind: tyro.conf.Positional[Literal["latex", "c"]],
    text: tyro.conf.Positional[Path],
    run: Path | None = None,
    pieces: int = 10,
    length: int = 2000,
    seed: int = 0,
    temperature: float = 1.0,
) -> None:
    """Check samples of a run, of a 6-gram model and of the real text, and print a table."""
    sources = {}
    config = Config()
    alphabet = None
    if run is not None:
        trained, _ = open_model(run, "cpu")
        config = trained.config
        alphabet = trained.alphabet
        sources[str(run)] = texts(
            trained, length=length, rows=pieces, temperature=temperature, seed=seed
        )
    corpus = open_corpus(text, alphabet=alphabet)
    start = split(corpus, config)
    first = first_number(corpus)
    training = corpus.numbers[:start][-COUNTED:]
    sources[f"{ORDER}-gram"] = counted_pieces(
        training,
        corpus.alphabet,
        first,
        pieces=pieces,
        length=length,
        seed=seed,
        temperature=temperature,
    )
    sources["real text"] = real_pieces(corpus, start, pieces, length)
    headings, row = ROWS[kind]
    title = f"of {pieces} texts of {length} characters: {TITLES[kind]}; temperature {temperature:g}"
    table = Table("text by", *headings, title=title)
    with tempfile.TemporaryDirectory() as folder:
        for name, samples in sources.items():
            table.add_row(name, *row(samples, Path(folder)))
    Console().print(table)


if __name__ == "__main__":
    script(main)
