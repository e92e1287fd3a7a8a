"""How well a translator translates, beside what takes no learning.

    uv run sequences translate evaluate runs/translate/counting    # BLEU and chrF on its validation pairs
    uv run sequences translate evaluate runs/translate/attention --data test.en test.cs --beam 5

The first prints a BLEU near 100, beside 35 for the most similar training sentence and 0 for the copied source.

Translations are text as it was read, and so are the references: sacrebleu splits both into words (Post 2018), and its
signatures say how.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from core.files import to_json
from core.training import cli, devices
from core.training.config import WIDEST_BEAM, require_within
from core.training.tables import scores_table
from datasets import parallel
from datasets.parallel import Pair
from sequences.translate.arguments import Evaluate
from sequences.translate.data import load
from sequences.translate.similar import most_similar
from sequences.translate.trained import Trained, open_model
from sequences.translate.write import translate


class Judge:
    """BLEU (Papineni et al. 2002) and chrF (Popovic 2015) of whole texts, in percent.

    Args:
        tokenize: how sacrebleu splits into words for BLEU; "none" for text that is already split by spaces.
        lowercase: whether capitals count as small letters.
    """

    def __init__(self, tokenize: str = "13a", *, lowercase: bool = False):
        # force: no warning about text that looks split into words already, which is the user's choice
        self._metrics = {
            "BLEU": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
            "chrF": CHRF(lowercase=lowercase),
        }

    def __call__(self, written: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
        """Return the scores of translations of these pairs' sources."""
        references = [[pair.target for pair in pairs]]
        return {
            name: m.corpus_score(list(written), references).score
            for name, m in self._metrics.items()
        }

    def signatures(self) -> dict[str, str]:
        """Return sacrebleu's account of how each was computed; known once something was judged."""
        return {name: metric.get_signature().format() for name, metric in self._metrics.items()}


def measure(trained: Trained, pairs: Sequence[Pair], beam: int, judge: Judge) -> dict[str, float]:
    """Return the scores of a translator."""
    found = translate(trained, [pair.source for pair in pairs], beam)
    return judge([translations[0].text for translations in found], pairs)


def baselines(
    train: Sequence[Pair], pairs: Sequence[Pair], judge: Judge
) -> dict[str, dict[str, float]]:
    """Return the scores of the source as it is, and of translations taken over from similar training sentences."""
    sources = [pair.source for pair in pairs]
    similar = most_similar([pair.source for pair in train], sources)
    return {
        "the source, copied": judge(sources, pairs),
        "the most similar training sentence": judge([train[n].target for n in similar], pairs),
    }


def report(results: Mapping[str, Mapping[str, float]], judge: Judge, title: str) -> None:
    """Print a table of scores, and their signatures."""
    Console().print(scores_table(results, title, "translations by"))
    for name, signature in judge.signatures().items():
        print(f"{name} {signature}")


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    require_within(1, WIDEST_BEAM, arguments, "beam")
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    config = trained.config
    own = load(config) if arguments.baselines or not arguments.data else None
    given = parallel.load(arguments.data, config.source, config.target) if arguments.data else None
    pairs = given or (own.validation if own else [])
    judge, beam = (
        Judge(arguments.tokenize, lowercase=arguments.lowercase),
        arguments.beam or config.beam,
    )
    results = {"this translator": measure(trained, pairs, beam, judge)}
    if own and arguments.baselines:
        results |= baselines(own.train, pairs, judge)
    if arguments.json:
        told = {
            "pairs": len(pairs),
            "beam": beam,
            "scores": results,
            "signatures": judge.signatures(),
        }
        print(to_json(told))
    else:
        name = " ".join(arguments.data) or "validation"
        report(results, judge, f"{name}: {len(pairs)} pairs, beam {beam}")


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate evaluate"))
