"""Whether compilers take samples: the preparation, and what TeX and gcc say where they are."""

import shutil

import pytest

from benchmarks.samples_check import c_row, declarations, latex_row, repairs_of, syntax_errors

needs_tex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")

HALF = "\tint lost;\n\treturn 0;\n}\n"
WHOLE = """#include <linux/of.h>
static DEFINE_MUTEX(lock);
EXPORT_SYMBOL_GPL(lock);

static int __init first(struct task *task, own_t value)
{
\tfor_each_thread(task, value) {
\t\tif (value > undeclared)
\t\t\tcontinue;
\t}
\treturn (u8)value;
}
"""


def test_a_sample_of_c_is_cut_to_whole_declarations():
    text = HALF + WHOLE + "int begun(void)\n{\n\tif ("
    cut = declarations(text)
    assert cut.startswith("static DEFINE_MUTEX(lock);")
    assert cut.endswith("}")
    assert "begun" not in cut
    assert declarations("no end of a function\n}\n") == ""


@needs_gcc
def test_c_parses_whatever_its_types_loops_and_macros(tmp_path):
    assert syntax_errors(HALF + WHOLE, tmp_path) == []
    broken = HALF + WHOLE.replace("return (u8)value;", "return (u8)value")
    (error,) = syntax_errors(broken, tmp_path)
    assert "expected ';' before '}' token" in error
    assert c_row([HALF + WHOLE, broken, "nothing whole"], tmp_path) == ["2", "1", "1"]


@needs_tex
def test_tex_mends_and_counts(tmp_path):
    good = "\\begin{document}\n\\begin{lemma}\nLet $x \\in \\Spec(A)$.\n\\end{lemma}\n"
    assert repairs_of(good, tmp_path) == 0
    assert repairs_of("Let $x be.\n\nAn \\unknownname here.\n", tmp_path) == 2
    assert repairs_of("\\begin{lemma} never ended\n", tmp_path) == 1
    assert latex_row([good, "\\a\\nope\\nope x\n" * 4], tmp_path)[:2] == ["1", "1"]
