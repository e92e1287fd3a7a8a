"""The model of the package writes in the manner of Shakespeare, with no training and no network."""

import numpy as np

from core.training import cli
from sequences.__main__ import COMMANDS
from sequences.charlm.measure import measure
from sequences.charlm.trained import DEFAULT, open_model

PASSAGE = """\
	Shall I go on and tell the king of this,
	Or hold my peace, and let the letter speak?
	Good sir, you know I never loved the man,
	And yet I would not see him come to harm.
"""  # blank verse, but not by Shakespeare


def nats(trained, text):
    numbers = trained.alphabet.encode("\n" + text)
    return measure(trained, np.asarray(numbers), 1)["nats"]


def test_the_default_model_expects_english_verse():
    assert DEFAULT.stat().st_size < 6e6
    trained, _ = open_model(DEFAULT, "cpu")
    assert nats(trained, PASSAGE) < 1.9
    order = np.random.default_rng(0).permutation(len(PASSAGE))
    assert nats(trained, "".join(PASSAGE[place] for place in order)) > 4


def test_it_writes_with_no_run_named(capsys):
    words = ["charlm", "sample", "--prompt", "KING LEAR", "--length", "300", "--temperature", "0.5"]
    assert cli.main("sequences", COMMANDS, words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("KING LEAR")
    assert len(out) == len("KING LEAR") + 300 + 1
    assert err == ""
    common = {"the", "and", "to", "of", "I", "you", "my", "a", "that", "in", "is", "not", "me"}
    assert len(common & set(out.split())) >= 5


def test_characters_that_it_does_not_know_are_named(capsys):
    words = ["charlm", "sample", "--prompt", "Ω, the end", "--length", "5"]
    assert cli.main("sequences", COMMANDS, words) == 0
    out, err = capsys.readouterr()
    assert out.startswith(", the end")
    assert err == "warning: left out of the prompt, as the model has never seen it: 'Ω'\n"
