"""Where results that can be computed again are kept between runs."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path


def user_cache(kind: str) -> Path:
    """Return the folder for things of one kind in the user's cache; it may not exist yet.

    Without a home that can be written, as in some containers, it is a temporary folder of this
    process.
    """
    root = _home_cache()
    if root is None:
        root = _temporary_cache()
    return root / "recurrent-vision" / kind


def _home_cache() -> Path | None:
    """Return $XDG_CACHE_HOME or ~/.cache, if it can be written."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not root.is_absolute():  # the specification has relative ones ignored
        try:
            root = Path.home() / ".cache"
        except RuntimeError:  # no HOME, and no entry in passwd
            return None
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return root if os.access(root, os.W_OK | os.X_OK) else None


@functools.cache
def _temporary_cache() -> Path:
    """Make a folder that this process removes when it ends."""
    folder = tempfile.mkdtemp(prefix="recurrent-vision-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
