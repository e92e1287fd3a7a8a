"""METEOR and SPICE, where they can be had: they are Java programs, which come with pycocoevalcap.

METEOR needs nothing else. SPICE needs Stanford's models too (400 MB), which are not fetched unasked.
"""

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

FETCH = (
    'python -c "from pycocoevalcap.spice import get_stanford_models as g; g.get_stanford_models()"'
)


def java_scores(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> tuple[dict[str, float], list[str]]:
    """Return METEOR and SPICE, from 0 to 1, as far as they can be had here, and a line on each left out.

    Args:
        candidates: the caption of each image, as words.
        references: the references of each image, one at least.
    """
    spec = find_spec("pycocoevalcap")
    java = shutil.which("java")
    if java is None or spec is None or not spec.submodule_search_locations:
        missing = "Java" if java is None else "the package pycocoevalcap"
        return {}, [f"METEOR and SPICE are left out: they need {missing}"]
    package = Path(spec.submodule_search_locations[0])
    figures, left_out = {}, []
    try:
        figures["METEOR"] = meteor(
            java, package / "meteor" / "meteor-1.5.jar", candidates, references
        )
    except (OSError, ValueError) as error:
        left_out.append(f"METEOR is left out: {_line(error)}")
    if not list((package / "spice" / "lib").glob("stanford-corenlp-*-models.jar")):
        left_out.append(
            f"SPICE is left out: it needs Stanford's models (400 MB); fetch them with: {FETCH}"
        )
    else:
        try:
            figures["SPICE"] = spice(candidates, references)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            left_out.append(f"SPICE is left out: {_line(error)}")
    return figures, left_out


def meteor(
    java: str,
    jar: Path,
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
) -> float:
    """Return METEOR 1.5 (Denkowski & Lavie 2014) of a caption for each image, from its program.

    Raises:
        OSError: the program does not run.
        ValueError: it does not answer as it should.
    """
    # Without these, a computer's settings decide the decimal point and what is read of an accented letter.
    options = "-Xmx2G", "-Dfile.encoding=UTF-8", "-Duser.language=en", "-Duser.country=US"
    command = [java, *options, "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        cwd=jar.parent,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        question, answer = program.stdin, program.stdout

        def ask(*parts: str) -> str:
            """One question, one line of answer."""
            print(*parts, sep=" ||| ", file=question, flush=True)
            return answer.readline().strip()

        counts = [
            ask("SCORE", *map(_sentence, texts), _sentence(candidate))
            for candidate, texts in zip(candidates, references, strict=True)
        ]
        ask(
            "EVAL", *counts
        )  # answers with the score of the first image, then of each other, then of all
        answers = [answer.readline() for _ in candidates]
    return float(answers[-1])


def spice(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> float:
    """Return SPICE (Anderson et al. 2016) of a caption for each image, through pycocoevalcap.

    Raises:
        CalledProcessError: the program fails, as it does with some versions of Java.
    """
    from pycocoevalcap.spice.spice import Spice  # imported here: it is an optional package

    known = {image: [_sentence(text) for text in texts] for image, texts in enumerate(references)}
    written = {image: [_sentence(candidate)] for image, candidate in enumerate(candidates)}
    return float(Spice().compute_score(known, written)[0])


def _sentence(words: Sequence[str]) -> str:
    """Words on one line, without what separates sentences in METEOR's language."""
    return " ".join(" ".join(words).replace("|||", " ").split())


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
