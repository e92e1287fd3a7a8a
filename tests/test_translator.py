"""The translator's network, its batches and what it writes."""

from dataclasses import replace

import pytest
import torch

from core.base_cell import map_state
from core.errors import InputError
from core.training import distributed
from core.training.config import LoopConfig
from datasets.text import counting
from datasets.text.subwords import Subwords
from sequences.translate import data, matrix, train
from sequences.translate.config import Config
from sequences.translate.data import (
    TrainingBatches,
    Vocabularies,
    collate,
    encode,
    vocabularies,
    without_long_pairs,
)
from sequences.translate.model import Translator
from sequences.translate.similar import most_similar
from sequences.translate.trained import Trained
from sequences.translate.write import AND_MORE, MOST, TIMES_AS_LONG, attention, translate

SMALL = Config(vocabulary=120, embedding=8, hidden=12, dropout=0.0, loop=LoopConfig(batch=8))
PAIRS = counting.splits()[0][:60]
SUBWORDS = vocabularies(SMALL, PAIRS)
CPU = torch.device("cpu")


def translator(**changes) -> Translator:
    torch.manual_seed(0)
    return Translator(replace(SMALL, **changes), *map(len, SUBWORDS)).double().eval()


def some() -> data.Batch:
    """Three pairs of unequal lengths."""
    encoded = encode([PAIRS[0], PAIRS[1], counting.Pair("one", "jeden")], SUBWORDS)
    return collate(*encoded, CPU)


def test_the_decoder_begins_with_h_and_c_of_both_directions():
    network = translator(layers=2)
    batch = some()
    _, (h_0, c_0) = network.encode(batch.source, batch.lengths)
    embedded = network._embed(network.source, batch.source)
    _, (h, c) = network.encoder(embedded, lengths=batch.lengths)
    B_h, B_c = network.begin
    for layer in range(2):
        both_h = torch.cat((h[2 * layer], h[2 * layer + 1]), -1)
        both_c = torch.cat((c[2 * layer], c[2 * layer + 1]), -1)
        torch.testing.assert_close(h_0[layer], torch.tanh(B_h(both_h)))
        torch.testing.assert_close(c_0[layer], B_c(both_c))


def test_embeddings_are_scaled_to_units_of_size_1():
    network = translator()
    tokens = torch.tensor([[4, 5], [6, 7]])
    scaled = SMALL.embedding**0.5 * network.target.weight[tokens]
    torch.testing.assert_close(network._embed(network.target, tokens), scaled)


def test_some_subwords_become_unknown_in_training():
    trained = Trained(replace(SMALL, word_dropout=0.5), translator(), SUBWORDS)
    learner = train.Learner(trained)
    tokens = torch.arange(100).view(-1, 1)
    read = learner._drop_words(tokens)
    changed = read != tokens
    assert not changed[: Subwords.end + 1].any()
    assert 30 < changed.sum() < 70
    assert (read[changed] == Subwords.unknown).all()


ALL = [
    {},
    {"input_feeding": True},
    {"attention": False},
    {"cell": "gru", "layers": 2},
    {"cell": "rnn", "layers": 2, "input_feeding": True},
]


@pytest.mark.parametrize("changes", ALL, ids=str)
def test_step_by_step_as_in_training(changes):
    """Decoding sees the same logits as teacher forcing, whatever the padding."""
    network, batch = translator(**changes), some()
    o, alphas = network(batch.source, batch.lengths, batch.target[:-1])
    logits = network.logits(o)
    memory, state = network.encode(batch.source, batch.lengths)
    step, state = network.stepper(memory), network.initial_state(state)
    state = map_state(lambda part: part.repeat_interleave(2, 0), state)
    for t, tokens in enumerate(batch.target[:-1]):
        seen, state = step(tokens.repeat_interleave(2), state)
        torch.testing.assert_close(seen[::2], logits[:, t])
        torch.testing.assert_close(seen[1::2], logits[:, t])
    torch.testing.assert_close(alphas.sum(-1), torch.ones_like(alphas[..., 0]))
    single = collate(
        [batch.source[: batch.lengths[2], 2].tolist()], [batch.target[1:3, 2].tolist()], CPU
    )
    o, alpha = network(single.source, single.lengths, single.target[:-1])
    torch.testing.assert_close(network.logits(o)[0], logits[2, :2], msg="padding changes nothing")
    assert not alphas[2, :2, alpha.shape[-1] :].any(), "nor is it looked at"


def test_attention_is_the_equation():
    network, batch = translator(), some()
    memory, state = network.encode(batch.source, batch.lengths)
    h = network.decoder(network._embed(network.target, batch.target[:1]), state)[0][0, 0]
    words = memory.words[0, : batch.lengths[0]]
    assert network.key is not None
    alpha = torch.stack([h @ network.key.weight @ m / 12**0.5 for m in words]).softmax(0)
    o = torch.tanh(network.output(torch.cat((h, (alpha[:, None] * words).sum(0)))))
    seen, alphas = network(batch.source, batch.lengths, batch.target[:-1])
    torch.testing.assert_close(seen[0, 0], o)
    torch.testing.assert_close(alphas[0, 0, : batch.lengths[0]], alpha)


def test_without_attention_all_is_in_the_last_state():
    network, batch = translator(attention=False), some()
    memory, state = network.encode(batch.source, batch.lengths)
    other = memory._replace(words=torch.full_like(memory.words, torch.nan))
    tokens = batch.target[0]
    logits = [network.stepper(m)(tokens, network.initial_state(state))[0] for m in (memory, other)]
    assert torch.equal(*logits)


def test_batches_are_functions_of_the_step_and_share_rows():
    pairs = encode(PAIRS, SUBWORDS)
    batches = TrainingBatches(pairs, SMALL, CPU)
    epoch = [batches(step, slice(0, 8)) for step in range(7)]
    rows = [tuple(row) for batch in epoch for row in batch.target.T.tolist()]
    assert len({tuple(n for n in row if n != Subwords.pad) for row in rows}) == 56, (
        "each pair at most once an epoch"
    )
    again = TrainingBatches(pairs, SMALL, CPU)(5, slice(3, 8))
    assert torch.equal(again.lengths, epoch[5].lengths[3:])
    assert torch.equal(again.target, epoch[5].target[: len(again.target), 3:])
    assert not torch.equal(again.lengths, batches(5 + 7, slice(3, 8)).lengths), (
        "another epoch, another order"
    )
    padding = sum((batch.target == Subwords.pad).sum().item() for batch in epoch)
    assert padding < 0.1 * sum(batch.target.numel() for batch in epoch), (
        "pairs of a batch are about equally long"
    )
    assert (
        TrainingBatches(pairs, replace(SMALL, loop=LoopConfig(batch=99)), CPU)(
            3, slice(0, 99)
        ).target.shape[1]
        == 60
    )


def test_the_losses_of_two_processes_have_the_mean_of_one(monkeypatch):
    """Though the targets of one process are longer than those of the other."""
    config = replace(SMALL, word_dropout=0.0)
    learner = train.Learner(Trained(config, translator(word_dropout=0.0), SUBWORDS))
    source, target = encode([*PAIRS[:2], *[counting.Pair("one", "jeden")] * 2], SUBWORDS)
    loss, _ = learner(*collate(source, target, CPU))
    monkeypatch.setenv("WORLD_SIZE", "2")
    counts = torch.tensor(float(sum(map(len, target))))
    monkeypatch.setattr(distributed, "all_reduce_sum", lambda _: counts)
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        half, _ = learner(*collate(source[rows], target[rows], CPU))
        halves.append(half)
    torch.testing.assert_close(torch.stack(halves).mean(), loss)


def test_processes_cannot_share_fewer_pairs_than_a_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    encoded = encode(PAIRS[:7], SUBWORDS)
    with pytest.raises(InputError, match="7 pairs cannot be shared by processes: lower --batch"):
        TrainingBatches(encoded, SMALL, CPU)


def test_long_pairs_are_left_out():
    pairs = encode(
        [*PAIRS, counting.Pair("one " * 70, "jeden"), counting.Pair("one", "jeden " * 70)], SUBWORDS
    )
    assert len(without_long_pairs(pairs, 60).source) == len(PAIRS)
    with pytest.raises(InputError, match="raise --longest"):
        without_long_pairs(pairs, 2)


def test_unknown_words_are_copied_from_the_attended_place():
    """A network that writes <unk>, attending to the second word of three, then ends."""
    words = [counting.Pair("see the dog", "vidím psa")] * 2
    subwords = Vocabularies(*(Subwords.train(side, 99) for side in zip(*words, strict=True)))
    space = subwords.target.encode("漢")[0]
    network = Translator(SMALL, *map(len, subwords)).eval()

    class Fixed(Translator):
        def stepper(self, memory):
            def step(tokens, state):
                following = {Subwords.start: 4, 4: space, space: Subwords.unknown}
                logits = torch.full((len(tokens), len(subwords.target)), -9.0)
                for row, token in enumerate(tokens.tolist()):
                    logits[row, following.get(token, Subwords.end)] = 9.0
                return logits, state

            return step

        def forward(self, source, lengths, read):
            alphas = torch.zeros(1, len(read), len(source))
            alphas[:, :, 2] = 1
            return torch.zeros(1, len(read), 8), alphas

    network.__class__ = Fixed
    trained = Trained(SMALL, network, subwords)
    ((one,), (empty,)) = translate(trained, ["see 漢字 dog", " "], 1)
    first = subwords.target.spoken([4])[0].removeprefix("▁")
    assert one.text == f"{first} 漢字"
    assert (empty.text, empty.tokens) == ("", ())


@pytest.mark.parametrize("beam", [1, 3])
def test_a_translation_that_does_not_end_is_cut_by_its_own_length(beam):
    network = translator().float()
    with torch.no_grad():
        network.bias[Subwords.end] = -1e9  # none ends
    trained = Trained(SMALL, network, SUBWORDS)
    sentences = [pair.source for pair in PAIRS]
    together = translate(trained, sentences, beam, beam)
    for sentence, found in zip(sentences, together, strict=True):
        limit = TIMES_AS_LONG * len(SUBWORDS.source.encode(sentence)) + AND_MORE
        assert [len(each.tokens) for each in found] == [limit] * beam
        (single,) = translate(trained, [sentence], beam, beam)
        assert [each.tokens for each in found] == [each.tokens for each in single]


def test_translations_come_in_the_order_of_the_input_and_long_ones_are_cut():
    trained = Trained(SMALL, translator().float(), SUBWORDS)
    short = [PAIRS[0].source, "", PAIRS[1].source, PAIRS[2].source]
    together = translate(trained, short, 2, 2)
    assert [len(found) for found in together] == [2, 1, 2, 2]
    single = translate(trained, [short[3]], 2)[0][0]
    assert single.tokens == together[3][0].tokens
    seen = attention(trained, short[0], together[0][0].tokens)
    assert seen.shape == (len(together[0][0].tokens) + 1, len(SUBWORDS.source.encode(short[0])) + 1)
    long = translate(trained, ["two " * 3000, "two " * (MOST // 3) + "x" * 100_000], 1)
    assert max(len(found[0].tokens) for found in long) <= 2 * (MOST + 1) + 10


def test_the_most_similar_sentence():
    known = ["a man sleeps", "a dog runs in the park", "two dogs run", "a dog runs in the park"]
    assert most_similar(known, ["the dog runs in a park", "a man", "?"]) == [1, 0, 0]


def test_the_matrix_adds_up_pieces_and_draws_any_text(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(matrix, "_png", lambda *parts: drawn.append(parts) or b"")
    alphas = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.2], [0.0, 0.0, 0.0, 1.0]])
    matrix.draw(["▁wa", "ter", "."], ["▁vo", "da", "."], alphas)
    ((weights, above, beside),) = drawn
    assert (above, beside) == (["water", ".", "end"], ["voda", "."])
    torch.testing.assert_close(
        torch.tensor(weights), torch.tensor([[0.45, 0.25, 0.3], [0.0, 0.0, 1.0]])
    )
    monkeypatch.undo()
    assert matrix.draw(["▁$a$", "▁" + "b" * 900], ["▁漢"], torch.ones(1, 3)).startswith(b"\x89PNG")
