"""A hash of a data set, by which a resumed training knows that it goes on with the same one."""

import hashlib
from collections.abc import Iterable


def digest(*parts: Iterable[object]) -> str:
    """Return the SHA-256 of the examples of all parts, in their order, in hexadecimal.

    Args:
        parts: training examples, validation examples; each as a plain value such as a tuple of
            its name, its text and its label, whose `repr` is the same in every run.
    """
    content = hashlib.sha256()
    for number, part in enumerate(parts):
        for example in part:
            content.update(f"{number} {example!r}\n".encode(errors="surrogatepass"))
    return content.hexdigest()
