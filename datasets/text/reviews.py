"""Small generated reviews, nothing to download, in which the order of the words decides.

    plain        the plot is dull                                 neg
    negated      the plot is not dull                             pos
    contrast     the cast is dull but the film is wonderful       pos: said of the film
                 the cast is wonderful but the film is dull       neg, with the same words

Of all sentences that the templates give, the first of each kind in the order of a hash are taken.
"""

from itertools import product

from datasets.splits import name_hash

COUNTS = {"plain": 500, "negated": 500, "contrast": 1000}  # sentences of each label

ADJECTIVES = {
    "pos": (
        "wonderful",
        "charming",
        "clever",
        "moving",
        "funny",
        "gripping",
        "fresh",
        "lovely",
        "superb",
        "warm",
    ),
    "neg": (
        "dull",
        "tedious",
        "clumsy",
        "silly",
        "flat",
        "shallow",
        "stale",
        "bland",
        "dreadful",
        "cold",
    ),
}
PARTS = (
    "plot",
    "cast",
    "script",
    "music",
    "ending",
    "dialogue",
    "acting",
    "pace",
    "humour",
    "first half",
)
WHOLES = ("film", "movie", "picture", "story", "sequel")

# {good} and {bad} change places for the other label.
TEMPLATES = {
    "plain": (
        "the {part} is {good} and so is the {whole}",
        "a {good} {whole} , and its {part} is {good} too",
        "how {good} the {part} of this {whole} is !",
    ),
    "negated": (
        "the {part} of this {whole} is not {bad}",
        "there is nothing {bad} about the {part} of this {whole}",
        "this {whole} is never {bad} , nor is the {part}",
        "a {whole} without one {bad} minute in its {part} .",
    ),
    "contrast": (
        "the {part} is {bad} but the {whole} is {good}",
        "a {whole} that is {good} and not {bad} , as the {part} shows",
        "its {part} may be {bad} , yet this {whole} is {good} .",
        "less {bad} than {good} , this {whole} , and so is its {part}",
        "i thought the {part} of this {whole} would be {bad} ; it is {good} !",
    ),
}


def sentences() -> list[tuple[str, str]]:
    """Return the sentences, each once, with their labels "neg" and "pos"."""
    return [
        (text, label)
        for kind in TEMPLATES
        for label in ADJECTIVES
        for text in _sentences(kind, label)
    ]


def _sentences(kind: str, label: str) -> list[str]:
    good, bad = (
        ADJECTIVES[label],
        next(words for other, words in ADJECTIVES.items() if other != label),
    )
    filled = {
        template.format(part=part, whole=whole, good=g, bad=b)
        for template, part, whole, g, b in product(TEMPLATES[kind], PARTS, WHOLES, good, bad)
    }
    return sorted(filled, key=name_hash)[: COUNTS[kind]]
