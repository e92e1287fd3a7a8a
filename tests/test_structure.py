"""What opens and closes in texts of three kinds."""

import math

import pytest

from sequences.charlm.structure import Paired, count, pairs, share


@pytest.mark.parametrize(
    ("marks", "paired"),
    [
        ("", 0),
        ("()", 2),
        ("(())()", 6),
        (")(", 0),
        ("(()", 2),
        ("([)]", 2),  # the [ is left open, its ] comes too late
    ],
)
def test_pairs_match_from_the_inside_out(marks, paired):
    kinds = {
        "(": ("round", True),
        ")": ("round", False),
        "[": ("square", True),
        "]": ("square", False),
    }
    assert pairs(kinds[mark] for mark in marks) == Paired(paired, len(marks))


@pytest.mark.parametrize(
    ("kind", "name", "text", "paired", "marks"),
    [
        ("xml", "tags", "<page><id>1</id><br/><text x='1'></page> a < b", 4, 5),
        (
            "xml",
            "tags",
            "&lt;ref name=&quot;x&quot;&gt;y&lt;/ref&gt; &lt;br&gt; <!-- <b> -->",
            2,
            2,
        ),
        ("xml", "[[links]]", "[[a|b]] [[c]] [[d ]", 4, 5),
        ("xml", "{{templates}}", "{{a|{{b}}}} }}", 4, 5),
        ("c", "{braces}", "int f() { if (x) { s = \"}\"; c = '{'; /* } */ } // }\n", 2, 3),
        ("c", "(parentheses)", "f(g(x)) (", 4, 5),
        ("c", "/*comments*/", '/* a */ x */ "/*" // /*\n /* open', 2, 4),
        ("c", "/*comments*/", "no comment", 0, 0),
        ("latex", "environments", "\\begin{a}\\begin{b}\\end{b}\\end{c} % \\begin{d}\n", 2, 4),
        ("latex", "$formulas$", "$x$ and $$y$$ cost \\$5 % $\n\n$left open\n\n$z$", 6, 7),
        ("latex", "{braces}", "\\emph{a \\{ b} {", 2, 3),
    ],
)
def test_marks(kind, name, text, paired, marks):
    assert count([text], kind)[name] == Paired(paired, marks)


def test_share_is_over_all_texts_and_nothing_where_there_is_no_mark():
    scores = share(["{", "{}", "{}"], "c")
    assert scores["{braces}"] == 0.8
    assert math.isnan(scores["/*comments*/"])
