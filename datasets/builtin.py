"""Names of data that come along or are downloaded, beside files and folders of the user's."""

import os
from pathlib import Path

from core.errors import InputError


def require_no_namesake(name: str) -> None:
    """Refuse the name of built-in data where a file or a folder here is called the same.

    Whichever of the two was read, somebody would train on the other without a word. A run is no
    data: `evaluate digits`, called among runs, measures the run on the built-in digits.

    Raises:
        InputError: there is one; the line tells how to name it.
    """
    # The listing is compared, and not Path.exists, as some file systems take mnist for MNIST.
    if name not in os.listdir() or (Path(name) / "config.json").exists():
        return
    kind = "folder" if Path(name).is_dir() else "file"
    raise InputError(
        f"{name} is the name of built-in data and of a {kind} here: write ./{name} for "
        f"the {kind}, or work elsewhere for the built-in data"
    )
