"""Films that are scored, and what was read of them."""

from videos import put

RATE = 10.0


def films(folder, frames=20, names="abc"):
    for name in names:
        put(folder / f"{name}.mp4", frames, RATE)


def labels(splits, name, frames=20):
    clip = next(clip for clip in splits.clips if clip.name.startswith(name))
    return clip.labels([n / RATE for n in range(frames)])


def written(splits, name, frames=20):
    """The first letter of each frame's label, or those of all behaviours of a frame."""
    found = labels(splits, name, frames)
    if found.ndim == 1:
        return "".join("?" if n < 0 else splits.classes[n][0] for n in found)
    rows = [[c[0] for c, n in zip(splits.classes, row, strict=True) if n > 0] for row in found]
    return " ".join("".join(row) or "-" for row in rows)
