"""Tables of metrics for a terminal."""

import io

from rich.console import Console

from core.training.tables import metrics_table


def test_brackets_in_names_are_shown():
    results = {"[b] model": {"[[links]]": 0.5, "tags": float("nan")}}
    page = io.StringIO()
    Console(file=page, width=80).print(metrics_table(results, "[red] text", "text by", 100))
    shown = page.getvalue()
    for words in ("[red] text", "[[links]]", "[b] model", " 50.0 ", " - "):
        assert words in shown
