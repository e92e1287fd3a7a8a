"""Measure a translator by BLEU and chrF beside baselines that take no learning.

    uv run sequences translate evaluate runs/translate/counting    # on its validation pairs
    uv run sequences translate evaluate runs/translate/attention --data test.en test.cs --beam 5

The first prints a BLEU near 100, beside 35 for the most similar training sentence and 0 for the
copied source.

Translations and references are plain text: sacrebleu splits both into words (Post 2018), and its
signatures say how.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from core.errors import counted, going_without, own_data_of
from core.files import to_json
from core.training import cli, devices
from core.training.tables import metrics_table
from datasets.text import parallel
from datasets.text.parallel import Pair
from sequences.translate.arguments import Evaluate
from sequences.translate.data import load
from sequences.translate.similar import most_similar
from sequences.translate.trained import Trained, open_model
from sequences.translate.write import translate


class Metrics:
    """BLEU (Papineni et al. 2002) and chrF (Popovic 2015) of whole texts, in percent.

    Args:
        tokenize: how sacrebleu splits text into words for BLEU; "none" for text that is split.
        lowercase: whether case is ignored.
    """

    def __init__(self, tokenize: str = "13a", *, lowercase: bool = False):
        # force: no warning about text that looks split already, which is the user's choice
        self._metrics = {
            "BLEU": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
            "chrF": CHRF(lowercase=lowercase),
        }

    def __call__(self, written: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
        """Return the metrics of translations of these pairs' sources."""
        references = [[pair.target for pair in pairs]]
        return {
            name: metric.corpus_score(list(written), references).score
            for name, metric in self._metrics.items()
        }

    def signatures(self) -> dict[str, str]:
        """Return sacrebleu's account of how each was computed; call it after the metrics."""
        return {name: metric.get_signature().format() for name, metric in self._metrics.items()}


def measure(
    trained: Trained, pairs: Sequence[Pair], beam: int, metrics: Metrics
) -> dict[str, float]:
    """Return the metrics of a translator."""
    written = translate(trained, [pair.source for pair in pairs], beam)
    return metrics([translations[0].text for translations in written], pairs)


def baselines(
    train: Sequence[Pair], pairs: Sequence[Pair], metrics: Metrics
) -> dict[str, dict[str, float]]:
    """Return the metrics of the copied source, and of the most similar training pair's target."""
    sources = [pair.source for pair in pairs]
    similar = most_similar([pair.source for pair in train], sources)
    return {
        "the source, copied": metrics(sources, pairs),
        "the most similar training sentence": metrics([train[n].target for n in similar], pairs),
    }


def report(results: Mapping[str, Mapping[str, float]], metrics: Metrics, title: str) -> None:
    """Print a table of metrics, and their signatures."""
    Console().print(metrics_table(results, title, "translations by"))
    for name, signature in metrics.signatures().items():
        print(f"{name} {signature}")


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    config = trained.config
    split = arguments.split or "validation"
    own = None
    if arguments.data:
        pairs = parallel.load(arguments.data, config.source, config.target)
        if arguments.baselines:
            with going_without("baselines, which take the training pairs"):
                own = load(config)
    else:
        with own_data_of(arguments.run):
            own = load(config)
        pairs = getattr(own, split)
    metrics = Metrics(arguments.tokenize, lowercase=arguments.lowercase)
    beam = arguments.beam or config.beam
    results = {"this translator": measure(trained, pairs, beam, metrics)}
    if own and arguments.baselines:
        results |= baselines(own.train, pairs, metrics)
    if arguments.json:
        signatures = metrics.signatures()
        values = {"pairs": len(pairs), "beam": beam, "scores": results, "signatures": signatures}
        print(to_json(values))
    else:
        name = " ".join(arguments.data) or split
        report(results, metrics, f"{name}: {counted(len(pairs), 'pair')}, beam {beam}")


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate evaluate"))
