"""What to label next: the stretches of films of which the net is least sure.

    uv run video next runs/video/videos films/*.mp4

A stretch's score is its mean uncertainty (least confidence, 1 - max p; of co-occurring behaviours
that of the least certain one), times its novelty: the distance of its mean features to the nearest
labelled stretch, divided by the median distance between candidate stretches, at most 2. A stretch
that is taken counts as labelled for those after it. The documents open in ELAN and tell where to
look; the tables, one of them in the format of BORIS' aggregated events, are for other programs.
What you label there goes to `video train --start RUN --add LABELS`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core import files
from core.errors import InputError
from core.training import cli, devices
from core.training.config import require_positive
from video.arguments import Next
from video.data import load_data
from video.labels import annotation_tools
from video.labels.formats import Span, csv_text
from video.labels.probabilities import encode
from video.reading import read
from video.streams.reader import open_source
from video.trained import Trained, open_model

LABELLED_CLIPS = 200  # of the training data that are compared with, at most
TO_SCORE = "to score"


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some seconds of a film."""

    film: str
    start: float
    end: float
    uncertainty: float
    """Mean probability that the label of a frame is wrong, by the net's own account."""
    features: Float[Tensor, " features"]
    """Mean features of its frames."""
    score: float = 0.0
    """Uncertainty times novelty: how unlike it is to what was labelled."""


def main(arguments: Next) -> None:
    """Rank the stretches of all films, print them, and write tables of the first ones."""
    require_positive(arguments, "minutes", "stretch", "fps")
    outputs = _outputs(arguments)
    files.make_folder(arguments.out, "--out")
    for path in outputs.values():
        files.require_apart(path, arguments.films)
        files.require_free(path, arguments.overwrite)
    device = devices.select(arguments.device, arguments.threads)
    trained, _ = open_model(arguments.run, device)
    stretches: list[Stretch] = []

    def collect(film: Path) -> None:
        stretches.extend(stretches_of(trained, film, arguments.stretch, arguments.fps))

    status = 0
    try:
        cli.for_each("video next", arguments.films, collect)
    except SystemExit as failed:
        status = int(failed.code or 0)
        if not stretches:
            raise
    known = labelled_features(trained, arguments.stretch)
    ranked = rank(stretches, known)
    chosen = first_minutes(ranked, arguments.minutes)
    _write(chosen, outputs, {film.name: film for film in arguments.films})
    for stretch in chosen:
        place = f"{stretch.start:8.1f} to {stretch.end:8.1f} s"
        cli.say(f"{stretch.film}  {place}  uncertainty {100 * stretch.uncertainty:.0f} %")
    cli.say(worth(ranked))
    cli.say(f"written: {', '.join(map(str, outputs.values()))}")
    if status:
        raise SystemExit(status)


def stretches_of(
    trained: Trained, film: Path, seconds: float, fps: float | None = None
) -> list[Stretch]:
    """Return a film in stretches of so many seconds, with the net's uncertainty in each."""
    stride = trained.config.stride
    source = open_source(film, stride=stride, shown_rate=trained.rate, rate=fps)
    times: list[float] = []
    features: list[Tensor] = []
    for frame in encode(trained, source):
        features.append(frame.features[-1:].cpu())
        times.append(frame.seconds)
    end = source.times[-1] + 1 / source.rate
    return divided(trained, film.name, torch.cat(features), times, end, seconds)


def divided(
    trained: Trained,
    film: str,
    features: Float[Tensor, "frames features"],
    times: Sequence[float],
    end: float,
    seconds: float,
) -> list[Stretch]:
    """Return the frames of a film in stretches, with the net's uncertainty in each.

    Args:
        trained: the net.
        film: its name.
        features: what the encoder gives for each frame.
        times: when each frame is shown, in seconds.
        end: when the film ends.
        seconds: length of a stretch.
    """
    log_p = trained.label(features)[0].cpu()
    uncertainties = uncertainty(log_p, several=trained.multi)
    numbers = (torch.tensor(times, dtype=torch.float64) / seconds).floor().long()
    stretches = []
    for number in numbers.unique().tolist():
        inside = numbers == number
        mean = features[inside].float().mean(0).cpu()
        stop = min((number + 1) * seconds, end)
        uncertain = float(uncertainties[inside].mean())
        stretches.append(Stretch(film, number * seconds, stop, uncertain, mean))
    return stretches


def uncertainty(
    log_p: Float[Tensor, "frames classes"], *, several: bool
) -> Float[Tensor, " frames"]:
    """Return for each frame the probability that its label is wrong, by the net's own account."""
    p = log_p.exp()
    if several:
        return torch.minimum(p, 1 - p).amax(1)
    return 1 - p.amax(1)


def labelled_features(trained: Trained, seconds: float) -> Float[Tensor, "stretches features"]:
    """Return the mean features of the stretches of the training clips; none if they are gone."""
    config = trained.config
    try:
        clips = load_data(config).train[:LABELLED_CLIPS]
        loaded = read(config, trained.encoder, clips, trained.rate)
    except InputError as error:
        reason = "what is unlike the labelled films counts no more"
        print(f"warning: {error}; {reason}", file=sys.stderr)
        return torch.zeros(0, 1)
    means = []
    for clip in loaded:
        features = clip.frames
        if config.trains_encoder:
            features = trained.features(features)
        numbers = (torch.tensor(clip.seconds, dtype=torch.float64) / seconds).floor().long()
        for number in numbers.unique():
            means.append(features[numbers == number].float().mean(0).cpu())
    return torch.stack(means)


def rank(stretches: Sequence[Stretch], known: Float[Tensor, "labelled features"]) -> list[Stretch]:
    """Return the stretches in the order in which to label them, with their scores.

    Each time the stretch with the greatest score is taken, and the others count by the distance to
    it too, as if it were labelled already.
    """
    if not stretches:
        return []
    features = torch.stack([stretch.features for stretch in stretches])
    uncertainties = torch.tensor([stretch.uncertainty for stretch in stretches])
    distances = torch.full((len(stretches),), torch.inf)
    if len(known):
        distances = torch.cdist(features, known).amin(1)
    among = torch.cdist(features, features)
    pairs = among[~torch.eye(len(stretches), dtype=torch.bool)]
    usual = max(float(pairs.median()), 1e-6) if len(pairs) else 1.0
    left = list(range(len(stretches)))
    ranked = []
    while left:
        novelty = (distances / usual).clamp(max=2.0)
        scores = uncertainties * novelty
        best = max(left, key=lambda n: float(scores[n]))
        left.remove(best)
        ranked.append(replace(stretches[best], score=float(scores[best])))
        distances = torch.minimum(distances, among[best])
    return ranked


def first_minutes(ranked: Sequence[Stretch], minutes: float) -> list[Stretch]:
    """Return the first stretches, of so many minutes together, and one at least."""
    chosen: list[Stretch] = []
    for stretch in ranked:
        seconds = sum(each.end - each.start for each in (*chosen, stretch))
        if chosen and seconds > 60 * minutes + 1e-6:
            break
        chosen.append(stretch)
    return chosen


def worth(ranked: Sequence[Stretch]) -> str:
    """Say in a line how many minutes hold half of the expected errors, of how many."""
    lengths = [stretch.end - stretch.start for stretch in ranked]
    errors = [stretch.uncertainty * length for stretch, length in zip(ranked, lengths, strict=True)]
    order = sorted(range(len(ranked)), key=lambda n: -ranked[n].uncertainty)
    minutes = 0.0
    found = 0.0
    for n in order:
        minutes += lengths[n] / 60
        found += errors[n]
        if found >= sum(errors) / 2:
            break
    whole = sum(lengths) / 60
    return f"half of the expected errors are in {minutes:.1f} of {whole:.1f} minutes: label those"


def _outputs(arguments: Next) -> dict[str, Path]:
    """Return the files to write: a table, one as of BORIS, and a document of ELAN for each film.

    Raises:
        InputError: two films have one name, by which the tables and the documents tell them apart.
    """
    films: dict[str, Path] = {}
    for film in arguments.films:
        other = films.setdefault(film.stem.lower(), film)
        if other != film:
            raise InputError(f"{other} and {film} have one name: rank them apart, or rename one")
    outputs = {
        "table": arguments.out / "next.csv",
        "boris": arguments.out / "next.boris.csv",
    }
    for film in arguments.films:
        outputs[film.name] = arguments.out / f"{film.stem}.next.eaf"
    return outputs


def _write(chosen: Sequence[Stretch], outputs: dict[str, Path], films: dict[str, Path]) -> None:
    rows = [
        (stretch.film, f"{stretch.start:.3f}", f"{stretch.end:.3f}", f"{stretch.uncertainty:.4f}")
        for stretch in chosen
    ]
    table = csv_text(("film", "start_seconds", "end_seconds", "uncertainty"), rows)
    files.replace(outputs["table"], table.encode(errors="replace"))
    by_film: dict[str, list[Span]] = {}
    for stretch in sorted(chosen, key=lambda each: each.start):
        span = Span(stretch.start, stretch.end, TO_SCORE)
        by_film.setdefault(stretch.film, []).append(span)
    text = annotation_tools.boris_table(by_film)
    files.replace(outputs["boris"], text.encode(errors="replace"))
    for film, path in list(outputs.items())[2:]:
        document = annotation_tools.eaf(by_film.get(film, []), (TO_SCORE,), films[film])
        files.replace(path, document.encode(errors="replace"))


if __name__ == "__main__":
    raise SystemExit(cli.script("video next"))
