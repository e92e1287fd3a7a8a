"""Where results that can be computed again are kept between runs."""

import os
from pathlib import Path


def user_cache(kind: str) -> Path:
    """Return the folder for things of one kind in the user's cache; it may not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "recurrent-vision" / kind
