"""Draws error against the mean number of glimpses, for all thresholds of stopping."""

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from datasets.images.files import encode
from glimpse.metrics.stopping import OperatingPoint
from glimpse.pictures.page import GREY, INK


def draw_curve(
    points: Sequence[OperatingPoint],
    stop: OperatingPoint | None,
    title: str,
    costs: Mapping[str, Sequence[float]],
) -> bytes:
    """Return the PNG of the curve; the operating point of the checkpoint's threshold is marked.

    Args:
        points: those of all thresholds.
        stop: that of the checkpoint.
        title: of the figure.
        costs: what one glimpse and two glimpses cost, by name; each glimpse costs as much more.
    """
    figure = Figure((5, 4), dpi=150, facecolor="white", layout="tight")
    axes = figure.add_subplot()
    axes.plot([each.glimpses for each in points], [each.error for each in points], color=INK)
    if stop is not None:
        axes.scatter([stop.glimpses], [stop.error], color=INK, zorder=3)
        axes.annotate(f"{stop.threshold:.3f}", (stop.glimpses, stop.error), color=GREY)
    axes.set_xlabel("glimpses on average")
    axes.set_ylabel("error, %")
    axes.grid(alpha=0.3)
    for number, (name, (one, two)) in enumerate(costs.items()):
        above = axes.twiny()
        above.spines.top.set_position(("axes", 1 + 0.25 * number))
        above.set_xlim(*(one + (glimpses - 1) * (two - one) for glimpses in axes.get_xlim()))
        above.set_xlabel(name)
    figure.axes[-1].set_title(title)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return encode(
        Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert(
            "RGB"
        ),
        "PNG",
    )
