"""Presets of the recurrent attention model: configurations with a name, and what they reach."""

from dataclasses import replace

from core.training.config import LoopConfig
from glimpse.config import Config

DIGITS = Config(
    canvas=(20, 20),
    patch=4,
    scales=3,
    what_units=64,
    where_units=64,
    glimpse_units=128,
    hidden=128,
    input_scale=0.3,
    loop=LoopConfig(
        steps=8000, batch=64, learning_rate=4e-3, warm_up=200, log_every=500, validate_every=2000
    ),
)
IMAGES = Config(
    data="FOLDER",
    patch=12,
    scales=3,
    what_units=256,
    input_scale=0.5,
    loop=LoopConfig(steps=10_000, learning_rate=2e-3, warm_up=500),
)
SEARCH = Config(
    data="FOLDER",
    augment=("turns", "flips"),
    glimpses=3,
    patch=32,
    scales=2,
    width=48,
    context=64,
    what="conv",
    dropout=0.3,
    where_units=32,
    hidden=128,
    cell="lstm",
    locator="map",
    std=0.06,
    reinforce=0.0,
    loop=LoopConfig(
        steps=800,
        batch=64,
        optimiser="adamw",
        learning_rate=3e-3,
        warm_up=100,
        weight_decay=0.01,
        clip=5.0,
        log_every=50,
        validate_every=200,
    ),
)
INSPECT = replace(
    SEARCH,
    glimpses=4,
    context=128,
    absence=True,
    loop=replace(SEARCH.loop, steps=400, batch=32, log_every=20, validate_every=100),
)
PHOTOGRAPHS = Config(
    data="FOLDER",
    image_size=(256, 256),
    augment=("flips", "scale", "colour"),
    glimpses=3,
    patch=96,
    scales=2,
    width=128,
    what="lite0",
    dropout=0.5,
    where_units=32,
    hidden=128,
    cell="lstm",
    std=0.2,
    loop=replace(
        SEARCH.loop,
        steps=200,
        batch=32,
        learning_rate=2e-3,
        warm_up=50,
        log_every=20,
        validate_every=50,
    ),
)
TEACHER = Config(
    data="FOLDER",
    augment=("turns", "flips"),
    context=128,
    loop=replace(SEARCH.loop, steps=900, batch=32, weight_decay=1e-3, validate_every=150),
)
MNIST28 = Config(
    data="mnist",
    shift=1,
    what_units=256,
    glimpse_units=512,
    input_scale=0.3,
    std=0.2,
    std_decay=0.35,
    location_scale=0.6,
    loop=LoopConfig(steps=55_000, learning_rate=2e-3, warm_up=500, validate_every=2500),
)
MNIST28_BEST = replace(
    MNIST28,
    shift=0,
    augment=("elastic",),
    extra=6,
    what="strided",
    locator="scan",
    rewarded="last",
    location_scale=0.02,
    std=0.05,
    std_decay=0.4,
    loop=replace(MNIST28.loop, steps=45_000),
)
TRANSLATED60 = replace(
    MNIST28,
    shift=0,
    canvas=(60, 60),
    patch=12,
    scales=3,
    glimpse_units=256,
    input_scale=0.2,
    std=0.1,
    std_decay=1.0,
    location_scale=0.3,
    loop=replace(MNIST28.loop, steps=40_000, validate_every=5000),
)
TRANSLATED60_BEST = replace(
    TRANSLATED60,
    what="strided",
    filters=32,
    loop=replace(TRANSLATED60.loop, steps=30_000, validate_every=2500),
)
CLUTTERED60 = replace(TRANSLATED60, clutter=4, loop=replace(TRANSLATED60.loop, steps=60_000))
CLUTTERED60_BEST = replace(TRANSLATED60_BEST, clutter=4)
CLUTTERED100 = replace(CLUTTERED60, canvas=(100, 100), scales=4)
CLUTTERED100_BEST = replace(CLUTTERED60_BEST, canvas=(100, 100), scales=4)
SEQUENCE = replace(
    TRANSLATED60,
    canvas=(60, 160),
    sequence=(2, 5),
    growth=0.25,
    glimpses=2,
    patch=16,
    factor=2.5,
    std=0.15,
    std_decay=0.4,
    location_scale=0.6,
    loop=replace(TRANSLATED60.loop, steps=17_000, batch=64, validate_every=1500),
)
SEQUENCE_DIGITS = replace(
    SEQUENCE,
    data="digits",
    canvas=(16, 48),
    patch=12,
    factor=2.0,
    what_units=128,
    where_units=64,
    input_scale=0.3,
    loop=replace(SEQUENCE.loop, steps=8000, warm_up=200, validate_every=2000),
)

PRESETS = {
    "digits": DIGITS,
    "images": IMAGES,
    "search": SEARCH,
    "inspect": INSPECT,
    "photographs": PHOTOGRAPHS,
    "mnist28": MNIST28,
    "mnist28-best": MNIST28_BEST,
    "translated60": TRANSLATED60,
    "translated60-best": TRANSLATED60_BEST,
    "cluttered60": CLUTTERED60,
    "cluttered60-best": CLUTTERED60_BEST,
    "cluttered100": CLUTTERED100,
    "cluttered100-best": CLUTTERED100_BEST,
    "sequence": SEQUENCE,
    "sequence-digits": SEQUENCE_DIGITS,
}
TEACHERS = {"teacher": TEACHER}
"""Of nets that read the whole image; they use `context`, `filters`, `augment` and `loop`."""
EXPECTED = {
    "digits": "2 % test error in 1 CPU minute",
    "images": "your own, with --data FOLDER; as many steps as they need",
    "search": "finds a small thing in large images, with --hints BOXES.csv; circuit boards: "
    "9 % error in 10 CPU minutes",
    "inspect": "images in which there may be nothing to find, with --hints BOXES.csv of the "
    "others; whole circuit boards: 2 % error in 6 CPU minutes",
    "photographs": "read by a pretrained encoder; 550 flowers: 9 % error in 3 CPU minutes",
    "mnist28": "1.1 % test error in 17 CPU minutes",
    "mnist28-best": "0.7 % test error in 80 CPU minutes; a scan read by convolutions",
    "translated60": "1.2 % test error in 11 CPU minutes",
    "translated60-best": "0.7 % test error in 45 CPU minutes; patches read by convolutions",
    "cluttered60": "3.0 % test error in 17 CPU minutes",
    "cluttered60-best": "1.5 % test error in 45 CPU minutes; patches read by convolutions",
    "cluttered100": "2.9 % test error in 22 CPU minutes",
    "cluttered100-best": "1.2 % test error in 60 CPU minutes; patches read by convolutions",
    "sequence": "2 to 5 digits of MNIST on one canvas: 88 % of the sequences right after 10 CPU "
    "minutes",
    "sequence-digits": "the same with the built-in digits: 87 % after 4 CPU minutes",
}
"""For each preset the result to expect and its time on one core (benchmarks/RESULTS.md)."""
