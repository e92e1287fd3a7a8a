"""Which films an observation of BORIS shows, and where in them its times are.

    media = media_of(row, Path("boris"))
    for name, part in media.spread(bout, Path("boris")):    # the parts of a bout, in films' times

Versions from 8.9.19 tell in the column Source what each player showed: "player #1:a.mp4;b.mp4|
player #2:c.mp4". Times run through the media of player 1, one after another. Those of other players
are left out: BORIS may shift them, and does not export by how much. Media file name is then only
the one in which an event is. Media that are listed without their players, as "a.mp4;b.mp4", were
played one after another or side by side, by what is stated of their length (or else read from
them). Older versions name in each row only the medium in which its event is, and count times
through all media of the observation: an observation of several media is refused then.
"""

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import cv2

from core.errors import InputError
from datasets.text_files import Line, warn
from datasets.videos.bouts import Bout
from datasets.videos.files import find_video, stated

MEDIA = ("source", "media_file_name", "media_file", "media_file_path")
"""Columns that name media, normalised; the first that names any is read."""
_TOTAL = ("total_length", "media_duration_s")
_PLAYER = re.compile(r"\|?\s*player #\d+:", re.I)


@dataclass(frozen=True)
class Media:
    """The media of an observation, in the order in which they were played."""

    paths: list[str]
    """As BORIS noted them; folders are those of another machine."""
    names: list[str]
    """By which they are found in the folder of the labels."""
    others: list[str]
    """Media of further players."""
    may_be_parallel: bool
    """Whether they may have been played side by side: the export does not tell."""
    total: float | None
    """Seconds that they have together, if that is stated."""

    def spread(self, bout: Bout, root: Path) -> Iterator[tuple[str, Bout]]:
        """Yield the parts of a bout that lie in each of the media, in their time.

        Raises:
            InputError: one of several media is missing in `root`, or states no length.
        """
        if len(self.names) == 1:
            yield self.names[0], bout
            return
        lengths = [_length(find_video(root, name, bout.line)) for name in self.names]
        total = bout.end if self.total is None else self.total
        if self.may_be_parallel and total <= max(lengths) + 0.5:
            for name in self.names:
                yield name, bout
            return
        lengths[-1] = math.inf  # what goes on after the last one is an error of its labels
        start = 0.0
        for name, length in zip(self.names, lengths, strict=True):
            first = max(bout.start - start, 0.0)
            last = min(bout.end - start, length)
            if first < last or (bout.start == bout.end and 0 <= bout.start - start < length):
                yield name, bout._replace(start=first, end=max(first, last))
            start += length


def media_of(row: Line, root: Path) -> Media:
    """Return the media of a row's observation; videos are looked for in `root`.

    Raises:
        InputError: none is named.
    """
    players = _players(row.values.get("source", ""))
    if players:
        paths = players[0]
        others = [path for player in players[1:] for path in player]
    else:
        paths = _listed(row)
        others = []
    if not paths or paths == ["NA"]:
        raise row.error("no media file is named")
    names = [_name(path, root) for path in paths]
    return Media(paths, names, others, not players, _total(row))


def require_all_media(rows: Sequence[Line], media: Mapping[int, Media]) -> None:
    """Raise InputError where the rows of one observation name different media.

    Args:
        rows: the rows of an export.
        media: the media of each row, by its number.
    """
    names_of: dict[str, list[str]] = {}
    for row in rows:
        observation = row.values.get("observation_id", "")
        names = media[row.number].names
        if not observation or not media[row.number].may_be_parallel:
            continue
        if names_of.setdefault(observation, names) != names:
            reason = f"observation {observation} has several media, each named only for its events"
            raise row.error(f"{reason}: export it with BORIS 8.10 or later")


def warn_of_media(where: Path, media: Sequence[Media]) -> None:
    """Tell which media are left out, and which of several folders are taken for one film."""
    others = dict.fromkeys(path for one in media for path in one.others)
    warn(where, "media of other players than the first", list(others))
    paths_of: dict[str, set[str]] = defaultdict(set)
    for one in media:
        for path, name in zip(one.paths, one.names, strict=True):
            paths_of[name].add(path)
    for name, paths in paths_of.items():
        if len(paths) > 1:
            line = f"{' and '.join(sorted(paths))} are taken for one film, {name}"
            hint = "if they are not, keep their folders"
            print(f"warning: {where}: {line}: {hint}", file=sys.stderr)


def _players(source: str) -> list[list[str]]:
    """Return the media of each player; none where the text does not speak of players."""
    if not _PLAYER.match(source):
        return []
    players = [player.split(";") for player in _PLAYER.split(source)[1:]]
    return [[path.strip() for path in player if path.strip()] for player in players]


def _listed(row: Line) -> list[str]:
    """Return the media that the first column that names any has, parted by `;` or `|`."""
    text = next((row.values[name] for name in MEDIA if row.values.get(name)), "")
    parts = [_PLAYER.sub("", part.strip()) for part in re.split("[;|]", text)]
    return [part for part in parts if part]


def _name(path: str, root: Path) -> str:
    """Return the longest end of a path at which a file is in `root`, or else its last part."""
    noted = PureWindowsPath(path)  # takes both kinds of slashes
    parts = noted.relative_to(noted.anchor).parts
    ends = ["/".join(parts[n:]) for n in range(len(parts))]
    return next((end for end in ends if (root / end).is_file()), noted.name)


def _length(video: Path) -> float:
    """Return how many seconds a video states that it lasts."""
    frames, rate = stated(video, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)
    if frames <= 0 or rate <= 0:
        raise InputError(f"{video}: states no length, which several media of an observation need")
    return frames / rate


def _total(row: Line) -> float | None:
    """Return the length in seconds that the media of a row have together, if it is stated."""
    text = next((row.values[name] for name in _TOTAL if name in row.values), "")
    try:
        return sum(float(part) for part in text.split(";")) if text else None
    except ValueError:
        return None
