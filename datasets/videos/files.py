"""Finds the videos that files of labels speak of, by their names, and what they state."""

import os
from pathlib import Path
from typing import cast

import cv2

from datasets.images.files import pictures_in
from datasets.text_files import Line

FOLDERS = ("videos", "clips", "frames")  # beside the labels, where there may be videos
SUFFIXES = (
    *(".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)


def videos_in(folder: Path) -> list[Path]:
    """Return the sorted videos in a folder, by their suffixes, perhaps none."""
    return sorted(
        f
        for f in folder.iterdir()
        if f.suffix.lower() in SUFFIXES and f.name[0] != "." and f.is_file()
    )


def stated(video: Path, *properties: int) -> list[float]:
    """Return what a file states, as cv2.CAP_PROP_FPS; 0 or -1 where it states nothing."""
    # As bytes: OpenCV crashes on names that are not UTF-8.
    name = cast("str", os.fsencode(video.absolute()))
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    values = [capture.get(number) for number in properties]
    capture.release()
    return values


def find_video(root: Path, name: str, line: Line) -> Path:
    """Return the video, or folder of frames, that is called `name`, with or without its suffix.

    It is looked for in `root` and in its sub-folders `FOLDERS`, files before folders of frames.

    Raises:
        InputError: there is none; the line is the `line` that speaks of it.
    """
    places = [folder / name for folder in (root, *(root / subfolder for subfolder in FOLDERS))]
    ends = ("", *SUFFIXES, *map(str.upper, SUFFIXES))
    for file in (f"{place}{end}" for place in places for end in ends):
        if os.path.isfile(file):  # unlike Path.is_file, no error for what cannot be a name
            return Path(file)
    for place in places:
        if os.path.isdir(place) and pictures_in(place):
            return place
    raise line.error(f"there is no video {name!r}; put it into {root / FOLDERS[0]}")
