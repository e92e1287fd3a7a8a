"""Writes a page to review labels in a browser: the film, a lane for each label, keys to correct.

    uv run video label film.mp4 --review page.html

The page needs no server and loads nothing from elsewhere; it plays the film beside it. What was
corrected is saved as a table that `video train --add` reads. Where browsers do not play the film
(MPEG-4 part 2, AVI, folders of frames), a copy that they play is written beside the page.
"""

import json
import os
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from core.files import replace
from datasets.videos.bouts import NOBODY
from datasets.videos.files import stated
from video.labels.outputs import Labelled
from video.pictures.drawing import palette
from video.pictures.overlay import write_copy
from video.streams.decoding import codec_name

TEMPLATE = Path(__file__).with_name("review.html")
PLAYED = {".mp4": ("h264", "avc1"), ".m4v": ("h264", "avc1"), ".webm": ("VP80", "VP90", "vp09")}
"""The codecs that browsers play, by the suffix of the file."""
DATA = "/*DATA*/null"
LEVELS = 100  # to which probabilities are rounded on the page


def write(page: Path, labelled: Labelled, source: str, fps: float | None = None) -> Path:
    """Write the page of a source that was labelled; return the film that it plays.

    Raises:
        InputError: the page, or a copy of the film, cannot be written.
    """
    film = Path(source)
    if not _is_played(film):
        film = page.with_name(f"{page.stem}.film.webm")
        write_copy(film, source, fps)
    colours = [f"#{bytes(colour).hex()}" for colour in palette(len(labelled.classes))]
    data = {
        "name": Path(source).name,
        "film": quote(os.path.relpath(film.absolute(), page.absolute().parent)),
        "classes": list(labelled.classes),
        "background": None if labelled.multi else labelled.background,
        "unlabelled": NOBODY,
        "colours": colours,
        "multi": labelled.multi,
        "end": round(labelled.end, 6),
        "times": [round(time, 4) for time in labelled.seconds],
        "bouts": [
            {"start": round(span.start, 4), "end": round(span.end, 4), "label": span.label}
            for span in labelled.spans
        ],
        "levels": np.rint(LEVELS * labelled.log_p.exp().numpy()).astype(int).T.tolist(),
    }
    # "<" could end the script element; as an escape it is the same to JSON.
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    text = TEMPLATE.read_text(encoding="utf-8").replace(DATA, content)
    replace(page, text.encode(errors="replace"))
    return film


def _is_played(film: Path) -> bool:
    """Return whether browsers play a file, by its suffix and codec."""
    codecs = PLAYED.get(film.suffix.lower(), ())
    if not film.is_file() or not codecs:
        return False
    return codec_name(*stated(film, cv2.CAP_PROP_FOURCC)) in codecs
