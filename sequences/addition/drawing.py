"""Draws the automaton inside a trained net, beside the activity it was read from.

A state has one colour: that of its circle in the diagram and of its steps in the example.
"""

import io
import math

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from torch import Tensor

from core.automaton import Automaton, Extraction
from datasets.transducer import STATES, SYMBOLS, is_adder, to_bits, to_numbers, to_symbols
from sequences.addition.model import Adder

INK, GREY, PAPER = "#1f1f2b", "#6c6c7c", "#ffffff"
# Colours of states, from the first again when there are more.
COLOURS = ("#8ecdf2", "#f2c14e", "#7fc8a9", "#e8998d", "#c3b1e1", "#d9d9e3")
UNITS = LinearSegmentedColormap.from_list("units", ["#2b4c7e", "#f7f7fa", "#a4243b"])
EXAMPLE = (1969, 1492)  # numbers whose addition visits all states of the adder
LENGTH = 13  # steps of this addition
PLACES = ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0))  # of the adder's states
RADIUS = 0.42


def picture(adder: Adder, extraction: Extraction) -> bytes:
    """Return the PNG: the diagram of the minimal automaton, and the units in an addition."""
    figure = Figure(figsize=(14, 6.4), dpi=140, facecolor=PAPER)
    grid = figure.add_gridspec(
        1, 2, width_ratios=(1, 1.35), left=0.01, right=0.985, top=0.9, bottom=0.06, wspace=0.04
    )
    diagram(figure.add_subplot(grid[0]), extraction.automaton.minimal())
    activity(figure.add_subplot(grid[1]), adder, extraction)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def diagram(axes: Axes, automaton: Automaton) -> None:
    """Draw an automaton's states and arrows; an arrow says what is read and then printed."""
    adds = is_adder(automaton)
    count = len(automaton.output)
    places = np.array(PLACES) if adds else _circle(count)
    for state, (place, prints) in enumerate(zip(places, automaton.output, strict=True)):
        axes.add_patch(
            Circle(
                (place[0], place[1]),
                RADIUS,
                facecolor=colour(state),
                edgecolor=INK,
                linewidth=1.4,
                zorder=3,
            )
        )
        label = STATES[state].replace(", ", "\n") if adds else f"state {state}\nprints {prints}"
        axes.text(
            place[0], place[1], label, ha="center", va="center", fontsize=10.5, color=INK, zorder=4
        )
    for state, row in enumerate(automaton.step):
        for after in sorted(set(row)):
            read = [SYMBOLS[symbol] for symbol, to in enumerate(row) if to == after]
            _arrow(axes, places, state, after, f"{', '.join(read)} → {automaton.output[after]}")
    _start(axes, automaton, places)
    axes.set_title(
        "The automaton inside" + (": the adder's own" if adds else ""), fontsize=14, color=INK
    )
    axes.set_xlim(-2.2, 2.2)
    axes.set_ylim(-2.2, 2.2)
    axes.set_aspect("equal")
    axes.axis("off")


def activity(axes: Axes, adder: Adder, extraction: Extraction) -> None:
    """Draw an addition step by step: the bits read, the units, their state, the bit printed."""
    device = next(adder.parameters()).device
    pairs = to_bits(torch.tensor(EXAMPLE, device=device), LENGTH)[:, None]
    units = adder.activity(pairs)[:, 0].t().cpu()
    printed = (adder(pairs) > 0).long().cpu()
    roles = extraction.automaton.roles()
    states = extraction.automaton.states(to_symbols(pairs).cpu())[:, 0].tolist()
    hidden = len(units)
    _bits(axes, -2.5, f"{EXAMPLE[0]:,}", pairs[:, 0, 0].tolist())
    _bits(axes, -1.5, f"+ {EXAMPLE[1]:,}", pairs[:, 0, 1].tolist())
    _units(axes, units)
    _row(axes, hidden + 0.1, "state", 11, GREY)
    fills = [colour(roles[state] or 0) for state in states]
    axes.scatter(
        range(LENGTH), [hidden + 0.1] * LENGTH, s=330, c=fills, edgecolors=INK, linewidths=1
    )
    _bits(axes, hidden + 1.2, f"= {to_numbers(printed)[0]:,}", printed[:, 0].tolist())
    axes.annotate(
        "", (LENGTH - 0.5, -3.35), (-0.5, -3.35), arrowprops={"arrowstyle": "->", "color": GREY}
    )
    axes.text(
        -0.5, -3.6, "time: the least significant bit first", fontsize=10.5, color=GREY, va="bottom"
    )
    axes.set_xlim(-3.2, LENGTH - 0.3)
    axes.set_ylim(hidden + 1.9, -4.2)
    axes.set_title(f"Its {hidden} units while they add", fontsize=14, color=INK)
    axes.axis("off")


def _row(axes: Axes, y: float, name: str, size: float, ink: str) -> None:
    axes.text(-0.9, y, name, ha="right", va="center", fontsize=size, color=ink)


def _bits(axes: Axes, y: float, name: str, bits: list[int]) -> None:
    _row(axes, y, name, 13, INK)
    for t, bit in enumerate(bits):
        axes.text(t, y, str(bit), ha="center", va="center", fontsize=15, color=INK)


def _units(axes: Axes, units: Float[Tensor, "hidden time"]) -> None:
    """The heat map: white is the middle of the activation's range, the colours are its ends."""
    low = -1.0 if units.min() < 0 else 0.0
    axes.imshow(units.numpy(), cmap=UNITS, vmin=low, vmax=1, aspect="auto")
    for n, row in enumerate(units.tolist()):
        _row(axes, n, f"unit {n + 1}", 11, GREY)
        for t, value in enumerate(row):
            strong = abs(value - (1 + low) / 2) > 0.3 * (1 - low)
            text = f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")
            axes.text(
                t, n, text, ha="center", va="center", fontsize=9, color=PAPER if strong else INK
            )


def colour(state: int) -> str:
    """The colour of a state of the minimal automaton."""
    return COLOURS[state % len(COLOURS)]


def _circle(count: int) -> np.ndarray:
    angles = math.pi / 2 - 2 * math.pi * np.arange(count) / count
    return 1.5 * np.stack([np.cos(angles), np.sin(angles)], 1)


def _arrow(axes: Axes, places: np.ndarray, start: int, end: int, label: str) -> None:
    """An arrow between states, bent to leave room for its reverse; a loop for a single state."""
    begin, target = places[start], places[end]
    if start == end:
        outwards = begin / (np.linalg.norm(begin) or 1)
        side = 0.5 * _left(outwards)
        _curve(
            axes,
            begin + RADIUS * (0.85 * outwards + side),
            begin + RADIUS * (0.85 * outwards - side),
            1.6,
        )
        _label(axes, begin + (RADIUS + 0.42) * outwards, label)
        return
    along = (target - begin) / np.linalg.norm(target - begin)
    left = _left(along)
    bend = 0.18
    tail = begin + RADIUS * (along + 0.35 * left)
    tip = target - RADIUS * (along - 0.35 * left)
    _curve(axes, tail, tip, bend)
    _label(axes, (tail + tip) / 2 + left * (0.07 + bend * np.linalg.norm(tip - tail) / 2), label)


def _left(direction: np.ndarray) -> np.ndarray:
    return np.array([-direction[1], direction[0]])


def _curve(axes: Axes, tail: np.ndarray, tip: np.ndarray, bend: float) -> None:
    arrow = FancyArrowPatch(
        (tail[0], tail[1]),
        (tip[0], tip[1]),
        connectionstyle=f"arc3,rad={-bend}",
        arrowstyle="-|>,head_length=7,head_width=3.5",
        color=INK,
        linewidth=1.3,
        shrinkA=0,
        shrinkB=0,
        zorder=2,
    )
    axes.add_patch(arrow)


def _label(axes: Axes, place: np.ndarray, label: str) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": "none"}
    axes.text(
        place[0],
        place[1],
        label,
        ha="center",
        va="center",
        fontsize=9.5,
        color=INK,
        bbox=box,
        zorder=5,
    )


def _start(axes: Axes, automaton: Automaton, places: np.ndarray) -> None:
    """A dot and an arrow to the state that is equivalent to the start, if there is one."""
    alike = [state for state, row in enumerate(automaton.step) if row == automaton.first]
    if not alike:
        return
    place = places[alike[0]]
    outwards = np.array([np.sign(place[0]) or 1.0, 0.0])
    tail = place + outwards * (RADIUS + 0.5)
    tip = place + outwards * RADIUS
    axes.plot(tail[0], tail[1], "o", color=INK, markersize=6)
    axes.text(tail[0], tail[1] + 0.12, "start", ha="center", va="bottom", fontsize=9.5, color=GREY)
    _curve(axes, tail, tip, 0.0)
