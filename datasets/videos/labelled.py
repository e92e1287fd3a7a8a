"""Labelled videos by name, or the user's own, in whichever of these layouts they are:

    splits = load("sprites")               # moving sprites, drawn: see `datasets.videos.sprites`
    splits = load("breakfast", split=2)    # a folder

    MS-TCN              videos/NAME.mp4, groundTruth/NAME.txt (a label a line), mapping.txt
                        ("0 label"), and splits/train.split1.bundle, test.split1.bundle
    BORIS               aggregated or tabular events (.csv, .tsv): see `datasets.videos.boris`
    tables              labels.csv, of segments or of frames: see `datasets.videos.tables`
    annotations         NAME.eaf of ELAN, subtitles NAME.srt or .vtt: see
                        `datasets.videos.annotations`
    a clip a class      CLASS/NAME.avi; perhaps with trainlist01.txt, testlist01.txt of UCF101
                        (CLASS/NAME.avi 1) in the folder, or in ucfTrainTestlist/ in or beside it

Where there are no splits the clips are split by a hash of their names, UCF101's groups
(v_CLASS_g01_c01) whole. Nothing opens a video here, but for several media of one observation: what
is in a video is known when its frames are read, and checked by `Clip.labels`.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import torch

from core.errors import InputError
from core.files import require_regular
from datasets.builtin import require_no_namesake
from datasets.text_files import Line, read_lines
from datasets.videos import annotations, boris, sprites, tables
from datasets.videos.bouts import Film, clips_of
from datasets.videos.clips import Clip, FrameLabels, OneLabel, Parts, VideoSplits
from datasets.videos.files import SUFFIXES, find_video, stated, videos_in

NAMES = ("sprites", "sprite-pairs")
TABLES = (".csv", ".tsv")
UNREAD = {
    ".boris": "a project of BORIS: export its events, aggregated or tabular, as .csv or .tsv",
    ".xml": "no labels that are read: write them as a table clip,start_frame,end_frame,label",
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet: save it as .csv or .tsv"),
    **dict.fromkeys(SUFFIXES, "a film: give the file or the folder of its labels"),
}
"""What is likely to be given in place of labels, and what to do, by the ends of names."""


def load(
    source: str | Path, *, background: str = "background", split: int = 1, multi: bool = False
) -> VideoSplits:
    """Load the data set `source`: one of `NAMES`, or the path of a folder or of a file of labels.

    Args:
        source: what to load.
        background: the label of frames in no segment; "unlabelled": they were not scored.
        split: which of several given splits, for MS-TCN's and UCF101's numbered ones.
        multi: whether several behaviours can occur at once though no labels overlap.

    Raises:
        InputError: nothing is called so, or its labels are malformed, or a video is missing, or a
            file or a folder here has one of `NAMES` too.
    """
    if source in NAMES:
        require_no_namesake(str(source))
    if source == "sprites":
        return sprites.load()
    if source == "sprite-pairs":
        return sprites.load_pairs()
    return read_labels(source, background=background, split=split, multi=multi).splits()


def read_labels(
    source: str | Path,
    *,
    background: str = "background",
    split: int = 1,
    multi: bool = False,
    films: Path | None = None,
) -> Parts:
    """Return the clips that a folder or a file labels, by the parts they are given for.

    Arguments and errors are those of `load`; a FIFO or a device is an `InputError` too. `films` is
    the folder of the videos, where it is not that of the labels.
    """
    path = Path(source)
    parts = _read(path, background, split, multi, films)
    _warn_of_alike(path, parts.classes)
    return parts


def _read(path: Path, background: str, split: int, multi: bool, films: Path | None) -> Parts:
    """Return the clips that a folder or a file labels, as `read_labels`."""
    if not path.exists():
        names = ", ".join(NAMES)
        raise InputError(f"no folder or table is called {str(path)!r}, and no data set but {names}")
    require_regular(path)
    if path.is_file():
        if reason := UNREAD.get(path.suffix.lower()):
            raise InputError(f"{path}: {reason}")
        return _files([path], films or path.parent, background, multi)
    if (path / "groundTruth").is_dir():
        return _mstcn(path, split)
    files = sorted(file for file in path.glob("[!.]*") if file.is_file())
    for suffixes in (TABLES, annotations.SUFFIXES):
        if labels := [file for file in files if file.suffix.lower() in suffixes]:
            return _files(labels, films or path, background, multi)
    return _class_folders(path, split)


def _warn_of_alike(where: Path, names: Iterable[str]) -> None:
    """Tell which names of behaviours differ only in upper and lower case, spaces or the like."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(re.sub(r"[\s_-]+", "", name).casefold() or name, name)
        if other != name:
            taken = f"{other!r} and {name!r} are taken for two behaviours"
            print(f"warning: {where}: {taken}", file=sys.stderr)


def _files(files: Sequence[Path], root: Path, background: str, multi: bool) -> Parts:
    """Return the clips of files of one kind."""
    where = files[0] if len(files) == 1 else root
    if all(file.suffix.lower() in annotations.SUFFIXES for file in files):
        films = [annotations.read(file, root) for file in files]
        _require_one_document(films)
        return clips_of(films, root, background, where=where, multi=multi)
    are_boris = [boris.is_boris(file) for file in files]
    if len(set(are_boris)) > 1:
        exports = files[are_boris.index(True)].name
        others = files[are_boris.index(False)].name
        kinds = f"{exports} holds events of BORIS and {others} does not"
        hint = "name the files to read, or move the others"
        raise InputError(f"{files[0].parent}: {kinds}: {hint}")
    if are_boris[0]:
        return clips_of(boris.read(files, root), root, background, where=where, multi=multi)
    return tables.load(files, root, background, multi)


def _require_one_document(films: Iterable[Film]) -> None:
    """Raise InputError where two documents annotate one film."""
    document_of: dict[Path | None, Path] = {}
    for film in films:
        document = film.line.file
        other = document_of.setdefault(film.video, document)
        if other != document:
            raise InputError(f"{document} and {other} annotate one film: move one of them")


def suspects(clips: Iterable[Clip]) -> Iterator[str]:
    """Yield a line for each file that claims to have another number of frames than are labelled.

    It is an early hint before hours of reading, no more: what a file claims may be wrong.
    """
    for clip in clips:
        if (
            isinstance(clip.given, FrameLabels)
            and isinstance(clip.source, Path)
            and clip.source.is_file()
        ):
            (frames,) = stated(clip.source, cv2.CAP_PROP_FRAME_COUNT)
            claimed = int(frames)
            if claimed != len(clip.given.labels):
                labelled = len(clip.given.labels)
                yield f"{clip.source}: {claimed} frames, it claims, but {labelled} are labelled"


def _mstcn(root: Path, number: int) -> Parts:
    """Load the layout of Farha and Gall's MS-TCN (2019), and of most that came after it."""
    index = _mapping(root / "mapping.txt")
    bundles = {
        part: root / "splits" / f"{name}.split{number}.bundle"
        for part, name in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    if not (root / "splits").is_dir():
        files = sorted((root / "groundTruth").glob("[!.]*.txt"))
        parts = {"all": [_mstcn_clip(root, Line(file, 1, file.name), index) for file in files]}
    else:
        parts = {
            part: [_mstcn_clip(root, line, index) for line in read_lines(file)]
            for part, file in bundles.items()
            if file.exists() or part == "train"
        }
        _check_apart(bundles, parts)
    return Parts(root, parts, tuple(index))


def _mapping(file: Path) -> dict[str, int]:
    """Return the number of each label, in the order of the numbers, which must be 0, 1, 2, ..."""
    index = {}
    for line in read_lines(file):
        number, _, name = line.text.partition(" ")
        if not (number.isdecimal() and name.strip()):
            raise line.error(f"{line.text!r} is not a number and a label, as in '0 walk'")
        if int(number) in index.values() or name.strip() in index:
            raise line.error(f"{line.text!r}: this number or this label stands above already")
        index[name.strip()] = int(number)
    if sorted(index.values()) != list(range(len(index))):
        raise InputError(
            f"{file}: the numbers of {len(index)} labels must be 0 to {len(index) - 1}"
        )
    if len(index) < 2:
        raise InputError(f"{file}: one class only ({next(iter(index))}); at least two are needed")
    return dict(sorted(index.items(), key=lambda item: item[1]))


def _mstcn_clip(root: Path, line: Line, index: Mapping[str, int]) -> Clip:
    """Return the clip that a line of a bundle names."""
    name = line.text.removesuffix(".txt")
    file = root / "groundTruth" / f"{name}.txt"
    if not file.is_file():
        raise line.error(f"there is no {file}")
    labels = read_lines(file)
    for label in labels:
        if label.text not in index:
            raise label.error(f"unknown label {label.text!r}; mapping.txt has {', '.join(index)}")
    video = find_video(root, name, line)
    return Clip(
        name,
        video,
        FrameLabels(torch.tensor([index[label.text] for label in labels]), file),
        group=name,
    )


def _check_apart(files: Mapping[str, Path], parts: Mapping[str, Iterable[Clip]]) -> None:
    """Demand that no clip is listed twice, least of all in two splits."""
    part_of: dict[str, str] = {}
    for part, clips in parts.items():
        for clip in clips:
            if clip.name in part_of:
                raise InputError(
                    f"{files[part]}: {clip.name} is already in {files[part_of[clip.name]].name}"
                )
            part_of[clip.name] = part


def _class_folders(root: Path, number: int) -> Parts:
    """Load clips of one label each, in a folder for each class."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    videos_of = {folder.name: videos_in(folder) for folder in folders}
    classes = tuple(name for name, videos in videos_of.items() if videos)
    if not classes:
        for file in sorted(root.glob("[!.]*")):
            suffix = file.suffix.lower()
            if suffix in UNREAD and suffix not in SUFFIXES:
                raise InputError(f"{file}: {UNREAD[suffix]}")
        formats = "no table (.csv, .tsv), no .eaf, .srt or .vtt, no groundTruth/"
        raise InputError(f"{root}: no labels: {formats} and no folder of videos for each class")
    if len(classes) == 1:
        raise InputError(f"{root}: one class only ({classes[0]}); at least two are needed")
    clips = {
        clip.name: clip
        for label, name in enumerate(classes)
        for clip in (_whole_clip(video, label) for video in videos_of[name])
    }
    lists = _lists(root, number)
    if not lists:
        return Parts(root, {"all": list(clips.values())}, classes)
    parts = {
        part: [_listed(clips, line) for line in read_lines(file)] for part, file in lists.items()
    }
    _check_apart(lists, parts)
    return Parts(root, parts, classes)


def _whole_clip(video: Path, label: int) -> Clip:
    """Return a clip of a class folder.

    UCF101 cuts clips that look alike from one longer video: these are a group.
    """
    name = f"{video.parent.name}/{video.name}"
    group = re.match(r"v_.*_g\d+(?=_c\d+$)", video.stem)
    return Clip(
        name, video, OneLabel(label), group=f"{video.parent.name}/{group[0]}" if group else name
    )


def _lists(root: Path, number: int) -> dict[str, Path]:
    """Return UCF101's lists of the training and test clips, if they are there."""
    for folder in (root, root / "ucfTrainTestlist", root.parent / "ucfTrainTestlist"):
        files = {part: folder / f"{part}list{number:02}.txt" for part in ("train", "test")}
        if any(folder.glob("trainlist*.txt")):
            return files
    return {}


def _listed(clips: Mapping[str, Clip], line: Line) -> Clip:
    """Return the clip of a line such as "Archery/v_Archery_g01_c01.avi 3".

    The number of the class says no more than the folder.
    """
    name = re.sub(r"\s+\d+$", "", line.text)
    if name not in clips:
        raise line.error(f"there is no video {name!r} in a folder of its class")
    return clips[name]
