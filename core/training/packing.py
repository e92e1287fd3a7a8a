"""One small file of a trained model, to keep or to ship: weights in float16, nothing to go on training from."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.training import checkpoint
from core.training.arguments import Pack
from core.training.config import from_dict, to_dict

KEPT = "step", "seconds", "metrics", "extras"  # beside weights and configuration


def pack(app: str, config: type, parts: Sequence[str], arguments: Pack) -> None:
    """Read the best checkpoint of a run and write the file: the command `APP pack`.

    Args:
        app: the application.
        config: its configuration.
        parts: those of the model that are used once it is trained.
        arguments: which run, and the file to write.

    Raises:
        InputError: the run cannot be read, the file not written, or it is no .pt file or lies in a run's directory.
    """
    _check(arguments.file)
    saved = checkpoint.open_run(arguments.run, app)
    told = to_dict(without_places(from_dict(config, saved["config"], str(arguments.run))))
    used = {
        name: value for name, value in saved["weights"].items() if name.partition(".")[0] in parts
    }
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in used.items()
    }
    checkpoint.save(
        arguments.file,
        app,
        {**{name: saved[name] for name in KEPT}, "config": told, "weights": weights},
    )
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB")


def _check(file: Path) -> None:
    """Complain of a file that may be something else than a packed model."""
    if file.suffix != ".pt":
        raise InputError(
            f"{file}: a packed model is a .pt file; call it {file.with_suffix('.pt').name}"
        )
    if (file.parent / "config.json").exists():
        raise InputError(
            f"{file}: {file.parent} holds a run, whose own files are called so: write it elsewhere"
        )


def without_places(config: Any) -> Any:
    """Return a configuration that does not tell where files lie on the machine that trained it."""
    places = {each.name: each.default for each in fields(config) if each.metadata.get("place")}
    return replace(config, **places, data=Path(config.data).name)
