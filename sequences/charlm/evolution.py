"""What a model writes while it learns, on one page (slide 44): at 100, 300 ... 2000 iterations.

evolution = Evolution(trained, run)
evolution(100)    # writes samples/000100.txt of the run, and shows it on its evolution.html
"""

from html import escape
from pathlib import Path

from core import files
from core.training.loop import evaluating
from core.training.run import Run
from sequences.charlm.trained import Trained
from sequences.charlm.writing import texts

ITERATIONS = (100, 300, 500, 700, 1200, 2000)
LENGTH = 400

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
  font: 1rem/1.5 system-ui, sans-serif }}
h2 {{ margin: 2rem 0 .5rem; font-size: 1rem }}
pre {{ margin: 0; padding: 1rem; border: 1px solid #8886; border-radius: .5rem;
  white-space: pre-wrap; overflow-wrap: anywhere; font: .9rem/1.45 ui-monospace, monospace }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
{samples}
</body>
</html>
"""


class Evolution:
    """Draws samples during a training, and keeps the page that shows them all.

    Args:
        trained: the model that learns.
        run: whose directory gets the page.
    """

    def __init__(self, trained: Trained, run: Run):
        self.trained, self.run = trained, run

    def __call__(self, step: int) -> None:
        """Add what the model writes now, if `step` is one of the iterations, or the last."""
        loop = self.trained.config.loop
        if step not in ITERATIONS and step != loop.steps:
            return
        with evaluating(self.trained.model):
            (text,) = texts(self.trained, length=LENGTH, rows=1, seed=loop.seed)
        folder = self.run.directory / "samples"
        files.make_folder(folder)
        files.remove_leftovers(folder)
        files.replace(folder / f"{step:06}.txt", text.encode())
        self._write_page()

    def _write_page(self) -> None:
        files_written = sorted((self.run.directory / "samples").glob("[0-9]*.txt"))
        samples = "\n".join(_sample(file) for file in files_written)
        config = self.trained.config
        unit = self.trained.alphabet.unit
        model = f"{config.layers} x {config.hidden}"
        read = config.loop.batch * config.window
        about = (
            f"{LENGTH} {unit}s each, drawn at temperature 1 from a {model} {config.cell.upper()} "
            f"that reads {read:,} {unit}s in each iteration."
        )
        title = f"How {escape(self.run.directory.name)} learned"
        page = PAGE.format(title=title, about=about, samples=samples)
        files.replace(self.run.directory / "evolution.html", page.encode())


def _sample(file: Path) -> str:
    text = escape(file.read_text(encoding="utf-8"))
    return f"<h2>{int(file.stem):,} iterations</h2>\n<pre>{text}</pre>"
