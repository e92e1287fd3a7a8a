"""Our metrics against pycocoevalcap, and CIDEr-D against its formula."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.metrics.confidence import Confidence, calibrate, is_right, reliability
from captioning.metrics.content import agreed, consensus_words, content
from captioning.metrics.ngrams import CiderD, corpus_metrics, longest_common_subsequence

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
    """Candidates and one to five references for images, some close to each other, some mixed."""
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
    ours = corpus_metrics(candidates, references)
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
    assert corpus_metrics(candidates, references) == pytest.approx(
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
    ours = corpus_metrics(candidates, references)
    assert ours == pytest.approx(published(candidates, references), abs=1e-12)
    assert all(math.isfinite(value) for value in ours.values())


def formula(candidate, references, images):
    """CIDEr-D as Vedantam et al. (2015) print it, over dense vectors of all n-grams."""

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
        corpus_metrics(candidates, references)


def test_consensus_words_are_content_words_of_three_in_five():
    texts = [
        ["a", "dog", "runs", "on", "the", "grass"],
        ["the", "dog", "is", "running", "on", "grass"],
        ["a", "brown", "dog", "on", "a", "lawn"],
        ["one", "dog", "runs", "outside"],
        ["dogs", "on", "grass"],
    ]
    assert agreed(texts) == {"dog", "grass"}
    assert agreed(texts[:2]) == {"dog", "grass"}, "one of two is no consensus"
    assert agreed(texts[:1]) == set()
    assert agreed([["cat"], ["cat"], ["cat"], ["dog"], ["dog"], ["dog"]]) == set(), "three of six"
    nothing = [["a", "the"], ["a", "the"]]
    candidates = [["a", "dog", "in", "a", "park"], ["the", "the"]]
    assert consensus_words(candidates, [texts, nothing]) == 0.5
    assert consensus_words([["grass", "dog", "dog"]], [texts]) == 1.0
    assert math.isnan(consensus_words([["a"]], [nothing]))
    assert content(["the", "Dog", "'s", "dog"]) == {"Dog", "dog"}


def test_a_sentence_is_right_if_half_its_content_words_are_said():
    texts = [["a", "brown", "dog"], ["the", "dog", "runs"]]
    assert is_right(["a", "dog", "sleeps"], texts)
    assert not is_right(["a", "black", "cat", "runs"], texts)
    assert not is_right(["a", "the"], texts), "it says nothing"


def test_confidence_is_calibrated():
    random = np.random.default_rng(0)
    means = random.uniform(-4, 0, 4000)
    expected = random.uniform(-4, 0, 4000)
    right = random.uniform(size=4000) < 1 / (1 + np.exp(-(2.5 * means + 0.8 * expected + 5)))
    fitted = calibrate(means.tolist(), expected.tolist(), right.tolist())
    assert fitted.scale is not None
    assert fitted.scale == pytest.approx(2.5, rel=0.1)
    assert fitted.weight == pytest.approx(0.8, rel=0.15)
    assert fitted.offset == pytest.approx(5, rel=0.1)
    assert fitted(-3.0 * 5, 4, -2.0) == pytest.approx(
        1 / (1 + math.exp(-(fitted.scale * -3 + fitted.weight * -2 + fitted.offset)))
    )
    confidences = [fitted(mean, 0, e) for mean, e in zip(means, expected, strict=True)]
    table = reliability(confidences, right.tolist())
    assert sum(row.sentences for row in table) == 4000
    for row in table:
        assert row.right == pytest.approx(row.confidence, abs=0.05)
    assert Confidence()(-2.0, 1) == pytest.approx(math.exp(-1.0)), "uncalibrated: the mean"


def test_a_calibration_of_few_sentences_is_finite():
    for right in ([True], [False], [True, True], [True, False]):
        fitted = calibrate([-1.0, -2.0][: len(right)], [0.0] * len(right), right)
        assert fitted.scale is not None
        assert math.isfinite(fitted.scale)
        assert 0 <= fitted(-5.0, 3) <= 1
    right = calibrate([-1.0], [0.0], [True])
    assert right(-1.0, 0) == pytest.approx(2 / 3, abs=1e-3)
    wrong = calibrate([-1.0, -1.0], [0.0, 0.0], [False, False])
    assert wrong(-1.0, 0) == pytest.approx(1 / 4, abs=1e-3)
    assert right.weight == wrong.weight == 0.0, "nothing was expected"
    extreme = Confidence(50.0, 0.0)
    assert extreme(-1000.0, 0) == pytest.approx(0)
