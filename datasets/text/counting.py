"""English sentences about numbers of things and their Czech translations, from small tables.

    Yesterday Anna saw twenty-three black dogs in the park.
    Anna včera viděla v parku třiadvacet černých psů.

They cannot be translated word by word. In Czech, time and place stand before the things,
twenty-three is three-and-twenty, and a verb in the past agrees with its subject. Nouns decline: one
(accusative) is jednoho, jednu or jedno, two to four take the plural, five and more the genitive
plural.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

from datasets.text.parallel import Pair

TRAIN = 4000  # pairs, none of them
VALIDATION = 400  # among these
MOST = 99  # things


class Noun(NamedTuple):
    """A thing: English singular and plural; Czech gender and forms."""

    one: str
    many: str
    gender: str  # a masculine animate, m other masculine, f feminine, n neuter
    accusative: str
    plural: str  # accusative
    genitive: str  # plural


NOUNS = (
    Noun("dog", "dogs", "a", "psa", "psy", "psů"),
    Noun("student", "students", "a", "studenta", "studenty", "studentů"),
    Noun("bird", "birds", "a", "ptáka", "ptáky", "ptáků"),
    Noun("tree", "trees", "m", "strom", "stromy", "stromů"),
    Noun("house", "houses", "m", "dům", "domy", "domů"),
    Noun("train", "trains", "m", "vlak", "vlaky", "vlaků"),
    Noun("cat", "cats", "f", "kočku", "kočky", "koček"),
    Noun("book", "books", "f", "knihu", "knihy", "knih"),
    Noun("fish", "fish", "f", "rybu", "ryby", "ryb"),
    Noun("apple", "apples", "n", "jablko", "jablka", "jablek"),
    Noun("car", "cars", "n", "auto", "auta", "aut"),
    Noun("window", "windows", "n", "okno", "okna", "oken"),
)
ADJECTIVES = {
    "old": "star", "young": "mlad", "new": "nov", "big": "velk", "small": "mal",
    "beautiful": "krásn", "black": "čern", "white": "bíl", "red": "červen", "green": "zelen",
    "yellow": "žlut", "brown": "hněd",
}  # fmt: skip
ENDINGS = {"a": "ého", "m": "ý", "f": "ou", "n": "é"}  # of adjectives in the accusative
PLACES = {
    "in the park": "v parku", "in the garden": "na zahradě", "in the town": "ve městě",
    "in the picture": "na obraze", "behind the school": "za školou", "near the river": "u řeky",
    "at the station": "na nádraží",
}  # fmt: skip
TIMES = {"yesterday": "včera", "today": "dnes", "in the morning": "ráno", "in the evening": "večer"}
PEOPLE = {"Anna": "a", "Eva": "a", "Marie": "a", "Petr": "", "Jan": "", "Tomáš": ""}
"""Each with the ending of a verb in the past."""
VERBS = {
    "saw": "viděl",
    "counted": "počítal",
    "painted": "maloval",
    "photographed": "fotil",
    "looked for": "hledal",
}

ONES = (
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CZECH_ONES = (
    "", "jeden", "dva", "tři", "čtyři", "pět", "šest", "sedm", "osm", "devět", "deset", "jedenáct",
    "dvanáct", "třináct", "čtrnáct", "patnáct", "šestnáct", "sedmnáct", "osmnáct", "devatenáct",
)  # fmt: skip
CZECH_TENS = (
    "", "", "dvacet", "třicet", "čtyřicet", "padesát", "šedesát", "sedmdesát", "osmdesát",
    "devadesát",
)  # fmt: skip
ONE = {"a": "jednoho", "m": "jeden", "f": "jednu", "n": "jedno"}


def english(number: int) -> str:
    """Return a number from 1 to 99 in English words."""
    tens, ones = divmod(number, 10)
    if number < len(ONES):
        return ONES[number]
    if ones == 0:
        return TENS[tens]
    return f"{TENS[tens]}-{ONES[ones]}"


def czech(number: int, gender: str) -> str:
    """Return a number from 1 to 99 in Czech, in the accusative; from 21 on as one word."""
    tens, ones = divmod(number, 10)
    if number == 1:
        return ONE[gender]
    if number == 2:
        return "dva" if gender in "am" else "dvě"
    if number < len(CZECH_ONES):
        return CZECH_ONES[number]
    if ones == 0:
        return CZECH_TENS[tens]
    first = {1: "jedn", 2: "dva"}.get(ones, CZECH_ONES[ones])
    return f"{first}a{CZECH_TENS[tens]}"


def things(number: int, adjective: str, noun: Noun) -> Pair:
    """Return a number of things in both languages, in Czech in the accusative."""
    stem = ADJECTIVES[adjective]
    numeral = czech(number, noun.gender)
    counted = f"{english(number)} {adjective} {noun.many}"
    if number == 1:
        counted = f"{english(number)} {adjective} {noun.one}"
        words = (numeral, stem + ENDINGS[noun.gender], noun.accusative)
    elif number < 5:
        ending = "á" if noun.gender == "n" else "é"
        words = (numeral, stem + ending, noun.plural)
    else:
        words = (numeral, stem + "ých", noun.genitive)
    return Pair(counted, " ".join(words))


def sentence(draw: random.Random) -> Pair:
    """Return a sentence and its translation, drawn at random.

    Small numbers, which have more forms, are frequent.
    """
    number = draw.choice((draw.randint(1, 5), draw.randint(1, MOST)))
    objects = things(number, draw.choice(list(ADJECTIVES)), draw.choice(NOUNS))
    person, verb, place, time = (
        draw.choice(list(table)) for table in (PEOPLE, VERBS, PLACES, TIMES)
    )
    begin = time[0].upper() + time[1:]
    past = VERBS[verb] + PEOPLE[person]
    return Pair(
        f"{begin} {person} {verb} {objects.source} {place}.",
        f"{person} {TIMES[time]} {past} {PLACES[place]} {objects.target}.",
    )


@lru_cache(maxsize=1)
def splits() -> tuple[list[Pair], list[Pair]]:
    """Return the pairs for training and for validation: always the same."""
    draw = random.Random(0)
    different: dict[Pair, None] = {}
    while len(different) < TRAIN + VALIDATION:
        different[sentence(draw)] = None
    pairs = list(different)
    return pairs[:TRAIN], pairs[TRAIN:]
