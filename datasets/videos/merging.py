"""Adds the clips of one data set to another, as one set of classes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from core.errors import InputError
from datasets.videos.clips import (
    UNLABELLED,
    Clip,
    FrameLabels,
    OneLabel,
    SegmentLabels,
    VideoSplits,
)


def merged(base: VideoSplits, added: VideoSplits) -> VideoSplits:
    """Return splits with clips added to `train`; one that is there already gets the new labels.

    Classes that are new follow the others; where several can occur at once, the new ones are not
    scored in the clips of `base`. Labels of both must be of one kind: one class at a time, or
    several.

    Raises:
        InputError: they are not.
    """
    if base.multi != added.multi:
        kinds = ("one behaviour at a time", "several at once")
        hint = "train anew with --multi" if added.multi else "they need --multi"
        raise InputError(
            f"the data have {kinds[base.multi]}, the labels to add {kinds[added.multi]}: {hint}"
        )
    new = [name for name in added.classes if name not in base.classes]
    classes = (*base.classes, *new)
    numbers = [classes.index(name) for name in added.classes]
    relabelled = [renumbered(clip, numbers, len(classes)) for clip in added.clips]
    fresh = {_place(clip): clip for clip in relabelled}
    parts: list[list[Clip]] = []
    for part in (base.train, base.validation, base.test):
        widened = (_widened(clip, len(base.classes), len(classes)) for clip in part)
        parts.append([fresh.pop(_place(clip), clip) for clip in widened])
    train, validation, test = parts
    return VideoSplits((*train, *fresh.values()), validation, test, classes, base.multi)


def _place(clip: Clip) -> object:
    """Return what tells whether two clips show the same video."""
    return clip.source.resolve() if isinstance(clip.source, Path) else clip.name


def _widened(clip: Clip, before: int, after: int) -> Clip:
    """Return a clip of `before` classes as one of `after`, of which it leaves the new unscored."""
    wide = renumbered(clip, range(before), after)
    given = wide.given
    if isinstance(given, SegmentLabels) and given.behaviours:
        unscored = (*given.unscored, *range(before, after))
        return dataclasses.replace(wide, given=dataclasses.replace(given, unscored=unscored))
    return wide


def renumbered(clip: Clip, numbers: Sequence[int], classes: int) -> Clip:
    """Return a clip whose label n is now numbers[n], of so many classes."""
    given = clip.given
    if isinstance(given, OneLabel):
        given = OneLabel(numbers[given.label])
    elif isinstance(given, SegmentLabels):
        labels = [label if label < 0 else numbers[label] for label in given.labels]
        rest = given.rest if given.rest < 0 else numbers[given.rest]
        behaviours = classes if given.behaviours else 0
        unscored = tuple(numbers[label] for label in given.unscored)
        given = dataclasses.replace(
            given, labels=labels, rest=rest, behaviours=behaviours, unscored=unscored
        )
    elif given.labels.ndim == 2:
        labels = given.labels.new_full((len(given.labels), classes), UNLABELLED)
        labels[:, list(numbers)] = given.labels
        given = FrameLabels(labels, given.file)
    else:
        new_numbers = torch.tensor([*numbers, UNLABELLED])  # the last serves UNLABELLED, -1
        given = FrameLabels(new_numbers[given.labels], given.file)
    return dataclasses.replace(clip, given=given)
