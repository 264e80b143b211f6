"""The static-cache decoder computes what TokenLM's full forward pass computes."""

import pytest
import torch

from benchmarks.reference_llama import reference_llama
from espnet_hybridse.generative import decode_weights
from espnet_hybridse.generative.decode_weights import StepWeights
from espnet_hybridse.generative.decoding import decode
from espnet_hybridse.generative.sampling import Sampling
from espnet_hybridse.generative.token_lm import TokenLM


def make_lm(positions="aligned", vocab_size=50):
    torch.manual_seed(0)
    lm = TokenLM(vocab_size, layers=3, dim=32, heads=4, ffn=64, positions=positions).eval()
    # Fresh weights repeat one token for ever; larger ones make every step a decision.
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return lm


@pytest.mark.parametrize("positions", ["aligned", "sequential"])
@pytest.mark.parametrize("plens", [[12, 12, 12], [12, 7, 1]])
@pytest.mark.parametrize("graph", [False, True])
def test_greedy_decoding_equals_full_forward(positions, plens, graph):
    """On CPU `graph` takes the fixed-shape steps that a GPU records, one by one."""
    lm, plens = make_lm(positions), torch.tensor(plens)
    prefix = torch.randn(3, 12, 32)
    decoded = decode(lm, prefix, plens, steps=12, graph=graph)
    logits, states = lm(prefix, plens, decoded.tokens)
    assert decoded.tokens.unique().numel() > 5
    assert torch.equal(logits.argmax(-1), decoded.tokens)
    torch.testing.assert_close(decoded.states, states, atol=1e-4, rtol=0)


@pytest.mark.parametrize("positions", ["aligned", "sequential"])
def test_batched_decoding_equals_one_by_one(positions):
    lm, plens = make_lm(positions), torch.tensor([12, 7, 1])
    prefix = torch.randn(3, 12, 32)
    batch = decode(lm, prefix, plens, steps=12)
    for row, length in enumerate(plens.tolist()):
        alone = decode(lm, prefix[row : row + 1, :length], plens[row : row + 1], steps=length)
        assert torch.equal(alone.tokens[0], batch.tokens[row, :length])
        torch.testing.assert_close(alone.states[0], batch.states[row, :length])


@pytest.mark.parametrize("positions", ["aligned", "sequential"])
def test_padding_does_not_change_teacher_forced_logits(positions):
    lm, lengths = make_lm(positions), torch.tensor([9, 4])
    prefix, tokens = torch.randn(2, 9, 32), torch.randint(0, 50, (2, 9))
    logits, _ = lm(prefix, lengths, tokens)
    prefix[1, 4:] = 1e4
    alone, _ = lm(prefix[1:, :4], lengths[1:], tokens[1:, :4])
    torch.testing.assert_close(alone[0], logits[1, :4])
    again, _ = lm(prefix, lengths, tokens)
    torch.testing.assert_close(again[1, :4], logits[1, :4])


def test_logits_depend_on_earlier_tokens_only():
    lm, lengths = make_lm(), torch.tensor([8])
    prefix, tokens = torch.randn(1, 8, 32), torch.randint(0, 50, (1, 8))
    before, _ = lm(prefix, lengths, tokens)
    tokens[0, 5] = (tokens[0, 5] + 1) % 50
    after, _ = lm(prefix, lengths, tokens)
    torch.testing.assert_close(after[:, :6], before[:, :6])
    assert not torch.allclose(after[:, 6], before[:, 6])


@pytest.mark.parametrize("graph", [False, True])
def test_a_given_history_is_followed(graph):
    lm, plens, prefix = make_lm(), torch.tensor([9, 5]), torch.randn(2, 9, 32)
    history = torch.randint(0, 50, (2, 9))
    forced = decode(lm, prefix, plens, 9, graph=graph, history=history)
    logits, states = lm(prefix, plens, history)
    assert torch.equal(forced.tokens, logits.argmax(-1))
    torch.testing.assert_close(forced.states, states, atol=1e-4, rtol=0)


def test_one_recording_serves_all_batches_of_its_shape():
    """On CPU: the fixed addresses that a GPU's recorded step would read and write."""
    lm = make_lm()
    weights = StepWeights(lm)
    kept = []
    for lengths in ([9, 9], [9, 5], [4, 9]):
        prefix, plens = torch.randn(2, 9, 32), torch.tensor(lengths)
        for history in (None, torch.randint(0, 50, (2, 9))):
            given = {"weights": weights, "history": history}
            fresh = decode(lm, prefix, plens, 9, graph=False, **given)
            again = decode(lm, prefix, plens, 9, graph=True, **given)
            assert torch.equal(again.tokens, fresh.tokens)
            torch.testing.assert_close(again.states, fresh.states, atol=1e-4, rtol=0)
            kept.append((again, again.tokens.clone()))
    assert len(weights.recorded) == 2, "with and without a history"
    assert all(torch.equal(decoded.tokens, tokens) for decoded, tokens in kept)


def test_recordings_take_up_so_much_and_no_more(monkeypatch):
    lm = make_lm()
    weights = StepWeights(lm)
    # Keys and values of 3 layers, 2 x 16 numbers for each of 8 places, for each utterance.
    monkeypatch.setattr(decode_weights, "RECORDED_BYTES", 3 * 2 * 32 * 8 * 4 * 5)
    for batch in (1, 2, 3):
        prefix, plens = torch.randn(batch, 4, 32), torch.full((batch,), 4)
        decode(lm, prefix, plens, 4, graph=True, weights=weights)
    assert [shape.batch for shape, _ in weights.recorded] == [2, 3]


@pytest.mark.parametrize("positions", ["aligned", "sequential"])
def test_the_layers_are_those_of_transformers(positions):
    lm, plens = make_lm(positions), torch.tensor([9, 5])
    prefix, tokens = torch.randn(2, 9, 32), torch.randint(0, 50, (2, 7))
    logits, states = lm(prefix, plens, tokens)
    inputs = torch.cat([lm.embed_prefix(prefix), lm.embed_history(tokens)], 1)
    expected = (
        reference_llama(lm)
        .model(
            inputs_embeds=inputs,
            attention_mask=lm.mask(plens, 9, 7),
            position_ids=lm.positions_of(plens, 9, 7),
        )
        .last_hidden_state[:, 9:]
    )
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, lm.head(expected), atol=1e-4, rtol=1e-5)


def test_decoding_equals_generate_of_transformers():
    lm = make_lm("sequential")
    prefix = torch.randn(2, 9, 32)
    llama = reference_llama(lm)
    embeds = torch.cat([lm.embed_prefix(prefix), lm.bos.expand(2, 1, -1)], 1)
    theirs = llama.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(2, 10, dtype=torch.long),
        max_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
    )
    assert torch.equal(decode(lm, prefix, torch.tensor([9, 9]), 20).tokens, theirs)


def test_sampling_has_the_same_result_alone_and_in_a_batch():
    lm, plens, prefix = make_lm(), torch.tensor([9, 5]), torch.randn(2, 9, 32)

    def sample(seed, rows=(0, 1), **options):
        rows = list(rows)
        sampling = Sampling(1.0, seed=seed, **options)
        return decode(lm, prefix[rows], plens[rows], 20, sampling).tokens

    both = sample(1, top_k=5)
    assert torch.equal(both, sample(1, top_k=5))
    assert torch.equal(both.flip(0), sample(1, (1, 0), top_k=5))
    assert torch.equal(
        both[1:], decode(lm, prefix[1:, :5], plens[1:], 20, Sampling(1.0, 5, 1.0, 1)).tokens
    )
    assert any(not torch.equal(both, sample(seed, top_k=5)) for seed in range(2, 6))


@pytest.mark.slow
def test_samples_follow_the_probabilities_within_top_k_and_top_p():
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()

    def shares(**options):
        sampling = Sampling(1.0, seed=3, **options)
        uniforms = sampling.uniforms(40000, torch.device("cpu"))
        tokens = torch.cat([sampling.pick(logits[None], u) for u in uniforms])
        return torch.bincount(tokens, minlength=4) / len(tokens)

    torch.testing.assert_close(shares(), logits.exp(), atol=0.01, rtol=0)
    top2 = torch.tensor([0, 2 / 3, 0, 1 / 3])
    torch.testing.assert_close(shares(top_k=2), top2, atol=0.01, rtol=0)
    # 0.5 alone does not reach 0.6; with 0.25 it does.
    torch.testing.assert_close(shares(top_p=0.6), top2, atol=0.01, rtol=0)
    assert shares(top_p=0.4)[1] == 1


@pytest.mark.parametrize("dtype, share", [("bfloat16", 0.75), ("int8", 0.75)])
def test_lower_precision_mostly_agrees_and_gives_the_models_own_type_back(dtype, share):
    lm, prefix = make_lm(), torch.randn(8, 40, 32)
    plens = torch.full((8,), 40)
    exact = decode(lm, prefix, plens, 40)
    weights = StepWeights(lm, dtype)
    decoded = decode(lm, prefix, plens, 40, weights=weights, history=exact.tokens)
    assert decoded.states.dtype == torch.float32
    assert (decoded.tokens == exact.tokens).float().mean() >= share
    difference = (decoded.states - exact.states).norm() / exact.states.norm()
    assert 0 < difference < 0.1


def test_fused_weights_notice_that_the_model_has_changed():
    lm = make_lm()
    weights = StepWeights(lm)
    assert weights.fits(lm)
    with torch.no_grad():
        lm.head.weight.mul_(2)
    assert not weights.fits(lm)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": -1}, "temperature=-1 must be >= 0"),
        ({"top_k": -2}, "top_k=-2 must be >= 0"),
        ({"top_p": 0}, r"top_p=0 must lie in \(0, 1\]"),
    ],
)
def test_sampling_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        decode(make_lm(), torch.randn(1, 4, 32), torch.tensor([4]), 0)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="lm_dim=30"):
        TokenLM(dim=30, heads=4)
    with pytest.raises(ValueError, match="aligned, sequential"):
        TokenLM(positions="learned")
