"""Our metrics against pycocoevalcap, and CIDEr-D against its formula."""

import importlib.util
import itertools
import math
import random
import shutil
import subprocess
import sys
import types
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.java_metrics import java_scores
from captioning.metrics import CiderD, longest_common_subsequence, scores

NAMES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
CAPTIONS = """
a brown dog runs through tall grass with a red ball in its mouth
the dog is running across a field carrying a ball
a dog plays fetch in the meadow
brown dog , red ball , green grass
two children sit on a wooden bench beside the lake
two kids are sitting on a bench and looking at the water
a boy and a girl rest by a lake on a sunny day
a man in a blue jacket climbs a steep wall of ice
a climber with an ice axe in each hand
someone is climbing a frozen waterfall
three women in long dresses dance in the street while people watch
women dancing
a group of dancers perform for a crowd in the street
an old man plays the accordion at a market stall
a street musician with an accordion and a hat for coins
a man plays music at the market
pes běží po louce s červeným míčem
hnědý pes nese v tlamě míč
dvě děti sedí na lavičce u vody
a skateboarder jumps over a flight of stairs
a boy does a trick on his skateboard in the air above the stairs
a skateboarder 🛹 in mid - air 😮
a surfer rides a large wave
surfer on a wave
a person in a black wetsuit is surfing a big blue wave in the ocean
a wave
snow
a yellow bus waits at the corner of a busy street in the rain
people with umbrellas cross the street in front of a yellow bus
it is raining and a bus is at the corner
a white cat sleeps on a pile of books next to a lamp
cat asleep on some books
a cat is lying on top of a stack of old books
the the the the cat cat cat
a man a plan a canal
a little girl in a pink dress blows out the candles on her birthday cake
a girl blows out candles
children are watching a girl with a cake
""".strip().splitlines()
SENTENCES = [line.split() for line in CAPTIONS]


def published(candidates, references):
    """What pycocoevalcap says."""
    known = {image: [" ".join(text) for text in texts] for image, texts in enumerate(references)}
    written = {image: [" ".join(candidate)] for image, candidate in enumerate(candidates)}
    figures = [*Bleu().compute_score(known, written, verbose=0)[0]]
    figures += [metric.compute_score(known, written)[0] for metric in (Rouge(), Cider())]
    return dict(zip(NAMES, figures, strict=True))


def photographs(number, seed=0):
    """Candidates and one to five references for images; some captions are near each other, some mixtures."""
    rng = random.Random(seed)
    candidates, references = [], []
    for _ in range(number):
        subject = rng.randrange(len(SENTENCES))
        texts = [SENTENCES[(subject + n) % len(SENTENCES)] for n in range(rng.randint(1, 5))]
        mixed = texts[0][: rng.randint(1, 9)] + rng.choice(SENTENCES)[rng.randint(0, 3) :]
        candidates.append(rng.choice([texts[-1], mixed, mixed, rng.choice(SENTENCES)]))
        references.append(texts)
    return candidates, references


def test_captions_score_as_in_pycocoevalcap():
    candidates, references = photographs(80)
    candidates[3], candidates[4] = [], ["snow"]
    ours = scores(candidates, references)
    assert list(ours) == NAMES
    assert ours == pytest.approx(published(candidates, references), abs=1e-12)
    assert 0.2 < ours["BLEU-4"] < 0.8


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_captions_score_as_in_pycocoevalcap(data):
    caption = st.lists(st.sampled_from(["a", "b", "c", "d", "ž", "🐕"]), max_size=9)
    references = data.draw(
        st.lists(st.lists(caption.filter(bool), min_size=1, max_size=5), min_size=1, max_size=6)
    )
    candidates = data.draw(st.lists(caption, min_size=len(references), max_size=len(references)))
    assert scores(candidates, references) == pytest.approx(
        published(candidates, references), abs=1e-12
    )


@pytest.mark.parametrize(
    ("candidates", "references"),
    [
        ([[]], [[["a", "dog"]]]),
        ([[], []], [[["a"]], [["b"], ["c", "d"]]]),
        ([["dog"]], [[["dog"]]]),
        (
            [["cat"], ["dog"]],
            [[["bird"]], [["fish", "swims"]]],
        ),  # nothing right: the published smoothing shows
        (
            [["a", "b", "c"], ["d"]],
            [[["a", "b"], ["a", "b", "c", "d"]], [["d"]]],
        ),  # two lengths as close
    ],
)
def test_corners_score_as_in_pycocoevalcap(candidates, references):
    ours = scores(candidates, references)
    assert ours == pytest.approx(published(candidates, references), abs=1e-12)
    assert all(math.isfinite(value) for value in ours.values())


def formula(candidate, references, images):
    """CIDEr-D of Vedantam et al. (2015) as it is printed, over dense vectors of all n-grams there are."""

    def counts(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    total = 0.0
    for n in range(1, 5):
        everything = sorted(
            {g for texts in [*images, [candidate]] for text in texts for g in counts(text, n)}
        )

        def vector(words, n=n, everything=everything):
            having = [
                sum(any(counts(text, n)[g] for text in texts) for texts in images)
                for g in everything
            ]
            return [
                counts(words, n)[g] * math.log(len(images) / max(1, df))
                for g, df in zip(everything, having, strict=True)
            ]

        g_c = vector(candidate)
        for text in references:
            g_s = vector(text)
            norms = math.sqrt(sum(x * x for x in g_c)) * math.sqrt(sum(x * x for x in g_s))
            dot = sum(min(x, y) * y for x, y in zip(g_c, g_s, strict=True))
            gauss = math.exp(-((len(candidate) - len(text)) ** 2) / (2 * 6.0**2))
            total += 10 / len(references) / 4 * (gauss * dot / norms if norms else 0.0)
    return total


def test_cider_d_is_its_formula():
    candidates, references = photographs(6, seed=1)
    cider = CiderD(references)
    for image, candidate in enumerate(candidates):
        expected = formula(candidate, references[image], references)
        assert cider.reward(image, candidate) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_rewards_are_the_same_for_words_and_for_their_numbers():
    candidates, references = photographs(40)
    numbers = {word: n for n, word in enumerate(sorted(set(itertools.chain(*SENTENCES))))}

    def coded(words):
        return tuple(numbers[word] for word in words)

    of_words, of_numbers = (
        CiderD(references),
        CiderD([[coded(text) for text in texts] for texts in references]),
    )
    for image, candidate in enumerate(candidates):
        reward = of_words.reward(image, candidate)
        assert of_numbers.reward(image, coded(candidate)) == pytest.approx(reward, rel=1e-12)
        assert 0 <= reward <= 10 + 1e-9


def test_a_reward_is_highest_for_the_reference_and_repetition_does_not_pay():
    references = [
        [["a", "dog", "runs", "fast"]],
        [["a", "cat", "sleeps"]],
        [["snow", "falls", "down"]],
    ]
    cider = CiderD(references)
    assert cider.reward(0, references[0][0]) == pytest.approx(10)
    assert cider.reward(0, ["a", "dog"]) < cider.reward(0, ["a", "dog", "runs"]) < 10
    assert cider.reward(0, ["dog"] * 12) < cider.reward(0, ["dog"])
    assert cider.reward(0, ["never", "seen"]) == cider.reward(0, []) == 0


@given(st.text("abcd", max_size=9), st.text("abcd", max_size=9))
def test_the_longest_common_subsequence_is_that_of_trying_all(a, b):
    def inside(short, long):
        rest = iter(long)
        return all(letter in rest for letter in short)

    tries = (sub for n in range(len(a), -1, -1) for sub in itertools.combinations(a, n))
    assert longest_common_subsequence(a, b) == len(next(sub for sub in tries if inside(sub, b)))


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], "0 captions of 0 images"),
        ([["a"]], [], "1 captions of 0 images"),
        ([["a"], ["b"]], [[["a"]], []], "image 1 has no reference"),
    ],
)
def test_what_cannot_be_scored_is_an_error(candidates, references, message):
    with pytest.raises(ValueError, match=message):
        scores(candidates, references)


@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java")
def test_meteor_is_that_of_pycocoevalcap():
    candidates, references = (
        SENTENCES[::3],
        [SENTENCES[n + 1 : n + 3] for n in range(0, len(SENTENCES) - 1, 3)],
    )
    candidates[0], candidates[1] = [], ["kočka", "|||", "🐕"]
    figures, left_out = java_scores(candidates, references)
    assert figures["METEOR"] == pytest.approx(
        0.0743745230190189, abs=1e-9
    )  # what its class Meteor says of them
    assert len(figures) + len(left_out) == 2


def test_without_java_a_line_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert java_scores([["a"]], [[["a"]]]) == (
        {},
        ["METEOR and SPICE are left out: they need Java"],
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A pycocoevalcap whose METEOR cannot run, and the Java that cannot run it."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    for folder in ("meteor", "spice/lib"):
        (tmp_path / folder).mkdir(parents=True)
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(shutil, "which", lambda name: str(java))
    monkeypatch.setattr("captioning.java_metrics.find_spec", lambda name: spec)
    return tmp_path


def test_a_program_that_fails_costs_a_line(package):
    figures, (first, second) = java_scores([["a"]], [[["a"]]])
    assert figures == {}
    assert first.startswith("METEOR is left out: ")
    assert "\n" not in first
    assert second.startswith(
        "SPICE is left out: it needs Stanford's models (400 MB); fetch them with: python -c "
    )


@pytest.mark.parametrize("works", [True, False])
def test_spice_is_asked_where_its_models_are(package, monkeypatch, works):
    (package / "spice" / "lib" / "stanford-corenlp-3.6.0-models.jar").touch()

    class Spice:
        def compute_score(self, known, written):
            assert known == {0: ["a dog", "dogs"]}
            assert written == {0: ["a cat"]}
            if not works:
                raise subprocess.CalledProcessError(1, ["java", "spice"])
            return 0.25, []

    module = types.ModuleType("pycocoevalcap.spice.spice")
    module.Spice = Spice  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycocoevalcap.spice.spice", module)
    figures, left_out = java_scores([["a", "cat"]], [[["a", "dog"], ["dogs"]]])
    assert figures == ({"SPICE": 0.25} if works else {})
    assert len(left_out) == (1 if works else 2)


def test_the_line_that_fetches_models_names_what_there_is():
    assert importlib.util.find_spec("pycocoevalcap.spice.get_stanford_models") is not None
