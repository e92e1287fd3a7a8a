"""Scores beside each other, for a terminal."""

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table


def metrics_table(
    results: Mapping[str, Mapping[str, float]],
    title: str,
    heading: str,
    factor: float = 1.0,
    decimals: int = 1,
) -> Table:
    """Lay out metrics, a row for each of `results` and a column for each metric, times `factor`; a
    dash for NaN.

    `heading` is that of the first column, which names the rows.
    """
    laid = Table(title=escape(title))
    laid.add_column(escape(heading))
    for name in next(iter(results.values())):
        laid.add_column(escape(name), justify="right")
    for name, values in results.items():
        shown = (f"{factor * value:.{decimals}f}" for value in values.values())
        laid.add_row(escape(name), *("-" if value == "nan" else value for value in shown))
    return laid
