"""Which split an example belongs to: by a word in its name, or else by a hash of the name."""

import hashlib
import os
import re

SPLITS: dict[str, str] = dict.fromkeys(("train", "training", "restval"), "train")
SPLITS |= dict.fromkeys(("test", "testing"), "test")
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
"""The split that a word names."""


def split_in(name: str) -> str | None:
    """Return the split that a name such as captions_val2017 tells."""
    words = re.findall("[a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def name_hash(name: str) -> bytes:
    """Return the key to sort files by before a part of them is held out.

    The order is the same in every run and on every machine; a file added later moves few others
    across a border.
    """
    return hashlib.sha256(os.fsencode(name)).digest()
