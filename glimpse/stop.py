"""Set when a trained model is sure enough to answer, by its validation images.

    uv run glimpse stop runs/glimpse/cluttered60 --error 3.5    # fewest glimpses for at most 3.5 %
    uv run glimpse stop runs/glimpse/cluttered60 --glimpses 4   # least error for 4 on average

The threshold is kept in the checkpoint; `evaluate` and `show` then use it.
"""

from dataclasses import asdict

from core.errors import InputError
from core.training import checkpoint, cli, devices
from core.training.config import require_at_least
from glimpse.arguments import Stop
from glimpse.data import load
from glimpse.evaluate import probabilities
from glimpse.metrics.stopping import choose, curve
from glimpse.model import greedy, open_model


def main(arguments: Stop) -> None:
    """Set the threshold of a run on its validation images; write it into its checkpoint."""
    device = devices.select(arguments.device, arguments.threads)
    require_at_least(1, arguments, "glimpses", "most")
    require_at_least(0, arguments, "error")
    if (arguments.error is None) == (arguments.glimpses is None):
        raise InputError("say what is wanted: --error PERCENT or --glimpses NUMBER")
    model, saved = open_model(arguments.run, device)
    if model.config.sequence is not None:
        raise InputError(f"{arguments.run} reads sequences: it stops at their end")
    images = load(model.config, device).validation
    most = arguments.most or model.config.glimpses
    points = curve(probabilities(model, images, most, greedy), images.labels)
    chosen = choose(points, error=arguments.error, glimpses=arguments.glimpses)
    extras = {**saved["extras"], "stop": {**asdict(chosen), "most": most}}
    path = arguments.run / "best.pt" if arguments.run.is_dir() else arguments.run
    checkpoint.save(path, "glimpse", {**saved, "extras": extras})
    cli.say(
        f"{path}: stops at probability {chosen.threshold:.4f}; on the validation images "
        f"{chosen.error:.2f} % error with {chosen.glimpses:.2f} of {most} glimpses on average"
    )


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse stop"))
