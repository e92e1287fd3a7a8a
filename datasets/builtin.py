"""Names of data that come along or are downloaded, beside files and folders of the user's."""

import os
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError


def require_no_namesake(name: str, suffixes: Sequence[str] = ()) -> None:
    """Refuse the name of built-in data where a file or a folder here is called the same.

    Whichever of the two was read, somebody would train on the other without a word. A run is no
    data: `evaluate digits`, called among runs, measures the run on the built-in digits.

    Args:
        name: the name of the data.
        suffixes: what follows it in names of files that are named by it too, as ".en".

    Raises:
        InputError: there is one; the line tells how to name it.
    """
    # The listing is compared, and not Path.exists, as some file systems take mnist for MNIST.
    here = os.listdir()
    named = f"{name} is the name of built-in data and of"
    or_else = "or work elsewhere for the built-in data"
    if name in here and not (Path(name) / "config.json").exists():
        kind = "folder" if Path(name).is_dir() else "file"
        raise InputError(f"{named} a {kind} here: write ./{name} for the {kind}, {or_else}")
    for suffix in suffixes:
        if name + suffix in here:
            hint = f"write ./{name} for your files"
            raise InputError(f"{named} {name}{suffix} here: {hint}, {or_else}")
