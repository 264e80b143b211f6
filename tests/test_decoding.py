"""The static-cache decoder computes what TokenLM's full forward pass computes."""

import pytest
import torch

from espnet_hybridse.generative.decoding import decode, pick
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
def test_greedy_decoding_equals_full_forward(positions, plens):
    lm, plens = make_lm(positions), torch.tensor(plens)
    prefix = torch.randn(3, 12, 32)
    decoded = decode(lm, prefix, plens, steps=12)
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


def test_sampling_is_reproducible_and_keeps_to_top_k():
    lm, plens, prefix = make_lm(), torch.tensor([5]), torch.randn(1, 5, 32)

    def sample(seed):
        generator = torch.Generator().manual_seed(seed)
        return decode(lm, prefix, plens, 20, temperature=1.0, top_k=5, generator=generator).tokens

    assert torch.equal(sample(1), sample(1))
    assert any(not torch.equal(sample(1), sample(seed)) for seed in range(2, 6))
    logits = torch.randn(1000, 50)
    chosen = pick(logits, 1.0, 3, torch.Generator().manual_seed(0))
    assert (logits.gather(1, chosen[:, None]) >= logits.topk(3).values[:, -1:]).all()


def test_bfloat16_decoding_gives_the_models_own_type_back():
    lm, prefix = make_lm(), torch.randn(2, 6, 32)
    decoded = decode(lm, prefix, torch.tensor([6, 3]), 6, dtype=torch.bfloat16)
    assert decoded.states.dtype == torch.float32 and decoded.states.isfinite().all()


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        decode(make_lm(), torch.randn(1, 4, 32), torch.tensor([4]), 0)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="lm_dim=30"):
        TokenLM(dim=30, heads=4)
    with pytest.raises(ValueError, match="aligned, sequential"):
        TokenLM(positions="learned")
