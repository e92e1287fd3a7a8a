"""What is written and told of a source whose frames are labelled."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.files import replace
from core.training.cli import say
from video import formats
from video.formats import Span

KINDS = {
    "csv": ".frames.csv",
    "segments": ".segments.csv",
    "srt": ".srt",
    "vtt": ".vtt",
    "eaf": ".eaf",
}
"""How the names of the files of each kind end."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """A source and the labels of its frames."""

    name: str
    classes: Sequence[str]
    frames: Sequence[int]
    """Number of each frame in the source; a stride, or keeping up, leaves some out."""
    seconds: Sequence[float]
    labels: Int[Tensor, " frames"]
    log_p: Float[Tensor, "frames classes"]

    @cached_property
    def spans(self) -> list[Span]:
        """The segments in time."""
        return formats.spans(self.labels, self.seconds, self.classes)

    def summary(self) -> str:
        """How long it is, and how much of it has each label."""
        shares = torch.bincount(self.labels, minlength=len(self.classes)) / len(self.labels)
        order = shares.argsort(descending=True, stable=True).tolist()
        found = ", ".join(f"{self.classes[n]} {100 * shares[n]:.0f} %" for n in order if shares[n])
        length = self.spans[-1].end - self.spans[0].start
        return f"{len(self.labels)} frame{'s' * (len(self.labels) > 1)}, {length:.1f} s: {found}"

    def text(self, kind: str, media: Path | None) -> str:
        """The content of a file of one of `KINDS`; `media` is the video, if it is a file."""
        each = self.labels, self.seconds, self.classes
        if kind == "csv":
            probabilities = self.log_p.gather(1, self.labels[:, None])[:, 0].exp()
            return formats.frames_csv(*each, probabilities, self.frames)
        if kind == "eaf":
            return formats.eaf(*each, media)
        return {"segments": formats.segments_csv, "srt": formats.srt, "vtt": formats.vtt}[kind](
            *each
        )


def write(labelled: Labelled, kinds: Sequence[str], stem: Path, media: Path | None) -> list[Path]:
    """Write files of these `KINDS`, each whole or not at all; return their paths: `stem` and what the kind adds."""
    paths = [stem.with_name(stem.name + KINDS[kind]) for kind in kinds]
    for kind, path in zip(kinds, paths, strict=True):
        replace(path, labelled.text(kind, media).encode(errors="replace"))
    return paths


def name_outputs(sources: Iterable[str]) -> dict[str, str]:
    """Return for each source a name for its files; no two are the same, nor differ in upper and lower case alone."""
    names, taken = dict[str, str](), set[str]()
    for source in dict.fromkeys(sources):
        stem = _stem(source)
        numbered = (f"{stem}-{n}" if n > 1 else stem for n in count(1))
        names[source] = next(each for each in numbered if each.lower() not in taken)
        taken.add(names[source].lower())
    return names


def tell(spans: Iterable[Span]) -> None:
    """Print when each segment begins."""
    for span in spans:
        say(f"{span.start:8.1f} s  {span.label}")


def _stem(source: str) -> str:
    """film for film.mp4, camera-0 for a camera, cam.example-door for rtsp://cam.example/door."""
    if "://" in source and not os.path.exists(source):
        address = re.sub("^.*://([^/@]*@)?", "", source).partition("?")[
            0
        ]  # a password is not for names
        return re.sub(r"[^\w.-]+", "-", address).strip("-.") or "stream"
    if source.isdecimal() and not os.path.exists(source):
        return f"camera-{int(source)}"
    path = Path(os.path.abspath(source))
    return path.name if os.path.isdir(source) else path.stem
