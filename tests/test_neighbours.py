"""Neighbours against sorting all distances, the consensus against comparing all captions."""

import math
import random
from collections import Counter

import pytest
import torch

from captioning.metrics.neighbours import BATCH, consensus, nearest, pooled

WORDS = ["a", "dog", "cat", "boy", "red", "ball", "runs", "sits", "on", "grass", "in", "snow"]


def images(number, seed):
    """Features at length 1, and two or three captions of each image."""
    rng = random.Random(seed)
    features = torch.randn(
        number, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    captions = [
        [tuple(rng.choices(WORDS, k=rng.randint(2, 8))) for _ in range(rng.randint(2, 3))]
        for _ in range(number)
    ]
    return torch.nn.functional.normalize(features, dim=-1), captions


def test_pooling_is_the_mean_over_the_grid_at_length_one():
    features = torch.rand(BATCH + 7, 4, 6)

    class Kept:
        def __len__(self):
            return len(features)

        def __call__(self, rows):
            return features[list(rows)].half()

    expected = features.mean(1) / features.mean(1).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(
        pooled(lambda cells: cells * 0, Kept()), expected, rtol=2e-3, atol=2e-3
    )


def test_features_are_pooled_over_pixels():
    pixels = torch.randint(0, 256, (BATCH + 1, 3, 2, 2), dtype=torch.uint8)

    class Pixels:
        def __len__(self):
            return len(pixels)

        def __call__(self, rows):
            return pixels[list(rows)]

    expected = torch.nn.functional.normalize(pixels.float().mean((2, 3)), dim=-1)
    torch.testing.assert_close(
        pooled(lambda x: x.float().flatten(2).transpose(1, 2), Pixels()), expected
    )


def test_the_nearest_image_lends_its_first_caption():
    known, captions = images(130, 0)
    queries, _ = images(BATCH + 20, 1)
    expected = []
    for one in queries:
        angles = [math.acos(max(-1, min(1, float(one @ other)))) for other in known]
        expected.append(captions[angles.index(min(angles))][0])
    assert nearest(known, captions, queries) == expected
    assert nearest(known, captions, known) == [texts[0] for texts in captions]


def weighted(words, n, captions):
    """tf-idf of the n-grams of a caption (Vedantam et al. 2015, equation 1), by dictionaries."""

    def ngrams(words):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    having = {
        g: sum(any(ngrams(text)[g] for text in texts) for texts in captions) for g in ngrams(words)
    }
    return {g: count * math.log(len(captions) / having[g]) for g, count in ngrams(words).items()}


def agreement(one, other):
    """CIDEr of two captions, from their tf-idf (equations 2 and 3)."""
    total = 0.0
    for a, b in zip(one, other, strict=True):
        norms = math.hypot(*a.values()) * math.hypot(*b.values())
        total += sum(weight * b.get(g, 0) for g, weight in a.items()) / norms / 4 if norms else 0
    return total


@pytest.mark.parametrize("neighbours", [1, 3, 99])
def test_the_consensus_is_that_of_comparing_every_pair(neighbours):
    known, captions = images(14, 2)
    queries, _ = images(5, 3)
    vectors = {
        text: [weighted(text, n, captions) for n in range(1, 5)]
        for texts in captions
        for text in texts
    }
    found = consensus(known, captions, queries, neighbours)
    for one, caption in zip(queries, found, strict=True):
        order = sorted(range(len(known)), key=lambda n: -float(one @ known[n]))[:neighbours]
        pool = [text for n in order for text in captions[n]]
        worth = [
            sum(agreement(vectors[a], vectors[b]) for j, b in enumerate(pool) if j != i)
            for i, a in enumerate(pool)
        ]
        assert caption in pool
        assert worth[pool.index(caption)] == pytest.approx(max(worth), rel=1e-9)


def test_corners_of_the_consensus():
    known = torch.eye(2)
    assert consensus(known, [[("a",)], [()]], known, 1) == [("a",), ()]
    # All weights are 0.
    assert consensus(known[:1], [[("a", "dog"), ("a", "cat")]], known, 30) == [("a", "dog")] * 2
    assert consensus(known, [[("a", "b"), ("b",), ("a", "b")], [("c",)]], known[:1], 2) == [
        ("a", "b")
    ]
