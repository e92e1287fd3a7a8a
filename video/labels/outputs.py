"""What is written and told of a source whose frames are labelled."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.files import replace
from core.training.cli import say
from video.labels import annotation_tools, formats
from video.labels.formats import Span

KINDS = {
    "csv": ".frames.csv",
    "segments": ".segments.csv",
    "onehot": ".onehot.csv",
    "probabilities": ".probabilities.csv",
    "boris": ".boris.csv",
    "eaf": ".eaf",
    "srt": ".srt",
    "vtt": ".vtt",
    "json": ".json",
}
"""How the names of the files of each kind end."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """A source and the labels of its frames."""

    name: str
    classes: Sequence[str]
    seconds: Sequence[float]
    """The time of each frame."""
    labels: Int[Tensor, " frames"] | Int[Tensor, "frames classes"]
    """One label a frame, or 0 and 1 for each behaviour."""
    log_p: Float[Tensor, "frames classes"]
    background: str = "background"
    numbers: Sequence[int] | None = None
    """The number of each frame in its source; None: it is all frames, from 0."""

    @property
    def multi(self) -> bool:
        """Whether several behaviours can occur at once."""
        return self.labels.ndim == 2

    @cached_property
    def spans(self) -> list[Span]:
        """The segments in time, of all behaviours."""
        return formats.spans(self.labels, self.seconds, self.classes)

    @property
    def end(self) -> float:
        """When the last frame ends, in seconds."""
        return formats.end(self.seconds)

    def summary(self) -> str:
        """Return how long it is, and how much of it has each label."""
        if self.multi:
            shares = self.labels.double().mean(0)
        else:
            shares = torch.bincount(self.labels, minlength=len(self.classes)) / len(self.labels)
        order = shares.argsort(descending=True, stable=True).tolist()
        found = [f"{self.classes[n]} {100 * shares[n]:.0f} %" for n in order if shares[n]]
        frames = len(self.labels)
        length = self.end - self.seconds[0]
        told = ", ".join(found) or "nothing"
        return f"{frames} frame{'s' * (frames > 1)}, {length:.1f} s: {told}"

    def text(self, kind: str, media: Path | None) -> str:
        """Return the content of a file of one of `KINDS`; `media` is the video, if it is a file."""
        writers: dict[str, Callable[[], str]] = {
            "csv": lambda: formats.frames_csv(
                self.labels, self.seconds, self.classes, self.log_p, self.numbers
            ),
            "segments": lambda: formats.segments_csv(self.spans),
            "onehot": lambda: formats.onehot_csv(self.labels, self.classes, self.numbers),
            "probabilities": lambda: formats.probabilities_csv(
                self.seconds, self.classes, self.log_p, self.numbers
            ),
            "boris": lambda: annotation_tools.boris_csv(
                self._bouts, self.seconds, media, self.name
            ),
            "eaf": lambda: annotation_tools.eaf(self.spans, self.classes, media, self.multi),
            "srt": lambda: annotation_tools.srt(self.spans),
            "vtt": lambda: annotation_tools.vtt(self.spans),
            "json": lambda: formats.to_json(self.name, self.spans, self.classes, self.end),
        }
        return writers[kind]()

    @property
    def _bouts(self) -> list[Span]:
        """The segments that are behaviours."""
        return [span for span in self.spans if span.label != self.background]


def paths(kinds: Sequence[str], stem: Path) -> list[Path]:
    """Return the paths of files of these `KINDS`: `stem` and what the kind adds."""
    return [stem.with_name(stem.name + KINDS[kind]) for kind in kinds]


def write(labelled: Labelled, kinds: Sequence[str], stem: Path, media: Path | None) -> list[Path]:
    """Write files of these `KINDS`, each whole or not at all; return their paths."""
    for kind, path in zip(kinds, paths(kinds, stem), strict=True):
        replace(path, labelled.text(kind, media).encode(errors="replace"))
    return paths(kinds, stem)


def name_outputs(sources: Iterable[str]) -> dict[str, str]:
    """Return for each source a name for its files.

    No two are the same, nor differ in upper and lower case alone.
    """
    names = dict[str, str]()
    taken = set[str]()
    for source in dict.fromkeys(sources):
        stem = _stem(source)
        numbered = (f"{stem}-{n}" if n > 1 else stem for n in count(1))
        names[source] = next(name for name in numbered if name.lower() not in taken)
        taken.add(names[source].lower())
    return names


def tell(spans: Iterable[Span]) -> None:
    """Print when each segment begins."""
    for span in spans:
        say(f"{span.start:8.1f} s  {span.label}")


def _stem(source: str) -> str:
    """Return film for film.mp4, camera-0 for camera 0, host-door for rtsp://host/door."""
    if "://" in source and not os.path.exists(source):
        without_password = re.sub("^.*://([^/@]*@)?", "", source)
        address = without_password.partition("?")[0]
        return re.sub(r"[^\w.-]+", "-", address).strip("-.") or "stream"
    if source.isdecimal() and not os.path.exists(source):
        return f"camera-{int(source)}"
    path = Path(os.path.abspath(source))
    if os.path.isdir(source):
        return path.name
    return path.stem
