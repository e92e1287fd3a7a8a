"""Draws attention as a matrix: a column for each word read, a row for each word written.

Subwords of a word are joined: the weight of a word read is the sum over its subwords, that of a
word written the mean over its subwords.
"""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from datasets.text.subwords import text_of, words_of

INK, GREY = "#1b1b2f", "#9a9ab0"
HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f4f8", "#ffd88a", "#f0544f", "#4a0c6b"])
CELL = 0.42  # inches
LETTER = 0.105  # inches that a letter is wide, about
MOST = 60  # words drawn in each direction; a picture of more can't be read
END = "end"  # of the sentence read


def draw(
    read: Sequence[str], written: Sequence[str], alphas: Float[Tensor, "written places"]
) -> bytes:
    """Return the PNG of an attention matrix.

    Args:
        read: the subwords of the sentence.
        written: the subwords of the translation.
        alphas: attention weights: a row for each of these, a column for each of those and, last,
            for the sentence's end.
    """
    columns = words_of(read)[:MOST]
    rows = words_of(written)[:MOST]
    end = slice(len(read), None)
    by_word = torch.stack([alphas[:, word].sum(1) for word in [*columns, end]], 1)
    weights = torch.stack([by_word[word].mean(0) for word in rows]).float().cpu().numpy()
    above = [*(text_of(read[word]) for word in columns), END]
    beside = [text_of(written[word]) for word in rows]
    return _png(weights, above, beside)


def _png(
    weights: Float[np.ndarray, "rows columns"], above: Sequence[str], beside: Sequence[str]
) -> bytes:
    above = [_short(word) for word in above]
    beside = [_short(word) for word in beside]
    rows, columns = weights.shape
    left = 0.3 + LETTER * max(map(len, beside))
    top = 0.3 + LETTER * max(map(len, above))
    width = left + CELL * columns + 0.3
    height = top + CELL * rows + 0.3
    figure = Figure(
        (width, height), dpi=min(200, int(8000 / max(width, height))), facecolor="white"
    )
    box = left / width, 0.3 / height, CELL * columns / width, CELL * rows / height
    axes = figure.add_axes(box)
    axes.pcolormesh(weights, cmap=HEAT, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(columns) + 0.5, above, rotation=90)
    axes.set_yticks(np.arange(rows) + 0.5, beside)
    axes.tick_params(length=0, labelsize=11, labelcolor=INK, pad=5)
    axes.spines[:].set_visible(False)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a dollar is a dollar
    axes.get_xticklabels()[-1].set(color=GREY, style="italic")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # what the font lacks becomes a box
        FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _short(word: str) -> str:
    return word if len(word) <= 20 else f"{word[:19]}…"
