"""Do no harm: clean speech is left alone, offsets and levels change nothing, noise goes further."""

from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_hybridse.fileio.assets import package_dir
from espnet_hybridse.fileio.audio import read_audio, resample
from espnet_hybridse.inference.conditioning import Conditioning, RunningGate
from espnet_hybridse.inference.gate import CLEAN, decide, decide_whole
from espnet_hybridse.inference.level import Leveller
from espnet_hybridse.inference.measures import Gauge
from espnet_hybridse.inference.pauses import lower_pauses
from espnet_hybridse.inference.speech_detector import FRAME, SpeechDetector, chance_of_speech
from espnet_hybridse.inference.wordless import Heard, Listener, wordless

SPEECH = Path(__file__).parents[1] / "data" / "speech"


@pytest.fixture(scope="module")
def speech():
    """Four seconds of clean speech at 16 kHz, (T,) with a peak of 0.5."""
    wav, fs = read_audio(SPEECH / "numbers.flac")
    assert fs == 16000
    return 0.5 * wav / np.abs(wav).max()


@pytest.fixture(scope="module")
def studio_speech():
    """Speech with less room and hiss in it, (T,) at 16 kHz with a peak of 0.5."""
    wav, _ = read_audio(SPEECH / "goforward.flac")
    return 0.5 * wav / np.abs(wav).max()


def noise(samples, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def with_noise(wav, snr_db, seed=0):
    return wav + noise(wav.size, np.sqrt(np.mean(wav**2)) * 10 ** (-snr_db / 20), seed)


def measured(wav, fs, block=10**6):
    gauge = Gauge(fs)
    for start in range(0, wav.size, block):
        gauge.add(wav[None, start : start + block])
    return gauge.result()


def test_measures_tell_what_was_done(speech):
    clean = measured(speech, 16000)
    noisy = measured(with_noise(speech, 5), 16000)
    assert clean.snr_db > noisy.snr_db + 10 and clean.floor_db < noisy.floor_db - 10
    assert clean.voiced > noisy.voiced and clean.sparseness > noisy.sparseness
    clipped = np.clip(speech, -0.1, 0.1)
    assert measured(clipped, 16000).flat_share > 100 * clean.flat_share + 1e-3
    lost = speech.copy()
    for start in range(16000, 60000, 8000):
        lost[start : start + 320] = 0
    assert measured(lost, 16000).gaps > 0.5 and clean.gaps == 0
    narrow = resample(resample(speech, 16000, 8000), 8000, 16000)
    assert measured(narrow, 16000).band_edge_hz < 4200 < clean.band_edge_hz
    room = np.exp(-np.arange(9600) / 2300) * np.random.default_rng(0).standard_normal(9600)
    wet = np.convolve(speech, room / np.abs(room).max())[: speech.size]
    assert measured(wet, 16000).decay_db_s < 0.7 * clean.decay_db_s
    silence = np.zeros(32000, np.float32)
    padded = measured(np.concatenate([silence, speech, silence]), 16000)
    assert padded.speech_s == pytest.approx(clean.speech_s, abs=0.3)


@pytest.mark.parametrize("fs", [8000, 16000, 22050, 48000])
def test_measures_do_not_depend_on_blocks_level_or_offset(speech, fs):
    wav = resample(speech, 16000, fs)
    whole = measured(wav, fs)
    for other in (measured(wav, fs, 777), measured(wav + np.float32(0.3), fs)):
        np.testing.assert_allclose(list(vars(other).values()), list(vars(whole).values()), atol=2.1)
    quiet = measured(0.01 * wav, fs)
    assert quiet.level_db == pytest.approx(whole.level_db - 40, abs=1.1)
    for name in ("snr_db", "pause_db", "voiced", "active", "motion_db"):
        assert getattr(quiet, name) == pytest.approx(getattr(whole, name), abs=1.0)


def test_clean_speech_is_told_from_noisy_which_takes_everything(studio_speech):
    decision = decide_whole(studio_speech[None], 16000)
    noisy = decide_whole(with_noise(studio_speech, 25)[None], 16000)
    assert decision.chance > 5 * noisy.chance and decision.because in CLEAN
    for snr_db in (-5, 5, 15):
        assert decide_whole(with_noise(studio_speech, snr_db)[None], 16000).share == 1.0
    assert decide_whole(noise(64000)[None], 16000).share == 1.0
    assert decide_whole(np.clip(8 * studio_speech, -0.2, 0.2)[None], 16000).share > 0.9
    assert decide(None).share == 1.0
    short = decide_whole(studio_speech[None, :1000], 16000)
    assert (short.share, short.because, short.measures) == (1.0, "too short to measure", None)
    absurd = decide_whole(1e20 * with_noise(studio_speech, 5)[None], 16000)
    assert absurd.share == 1.0 and np.isfinite(list(vars(absurd.measures).values())).all()


def test_channels_that_cancel_out_are_heard(speech):
    gauge = Gauge(16000)
    gauge.add(np.stack([speech, -speech]))
    assert gauge.result() == measured(speech, 16000)


def test_a_stream_is_judged_by_what_was_heard(studio_speech):
    blocks = [
        studio_speech[None, :32000],
        with_noise(studio_speech, 0)[None],
        with_noise(studio_speech, 0)[None],
    ]
    gate = RunningGate(blocks, 16000, None)
    shares = [gate.share() for _ in gate]
    assert shares[0] < shares[-1] == 1.0
    fixed = RunningGate(blocks, 16000, 0.25)
    assert [fixed.share() for _ in fixed] == [0.25] * 3


def test_one_utterance_at_many_levels_has_one_level_before_the_network(speech):
    pause = noise(8000, 1e-5)
    levels = [-40, -30, -20, -10, 0, -25, -5, -40]
    parts = [part for level in levels for part in (2 * speech * 10 ** (level / 20), pause)]
    wav, leveller = np.concatenate(parts)[None].astype(np.float32), Leveller()
    period = speech.size + pause.size
    # Pieces that are cut where nobody planned them.
    gains = [leveller.gains(wav[:, at : at + 120000], 16000) for at in range(0, wav.size, 120000)]
    levelled = wav[0] * np.concatenate(gains)
    powers = [np.mean(levelled[n * period :][: speech.size] ** 2) for n in range(len(levels))]
    spread = 10 * np.log10(max(powers) / min(powers))
    assert spread < 4  # of 40; the networks normalise what is left


def test_silence_behind_speech_is_not_lifted(speech):
    quiet = 0.01 * speech
    for pause in (np.zeros(8000, np.float32), noise(8000, 1e-5)):
        gains = Leveller().gains(np.concatenate([quiet, speech, pause])[None], 16000)
        loud = gains[quiet.size + 8000 : quiet.size + speech.size]
        assert gains[-8000:].max() == pytest.approx(loud.min(), rel=0.05)


def test_noise_is_not_lifted_to_the_level_of_speech(speech):
    leveller = Leveller()
    first = leveller.gains(speech[None], 16000)
    between = leveller.gains(noise(160000, 1e-3)[None], 16000)
    assert between.max() == pytest.approx(first[-1], rel=0.01)
    for wav in (np.zeros((1, 16000)), noise(16000, 1e20)[None], noise(100)[None], noise(1)[None]):
        gains = Leveller().gains(wav, 16000)
        assert np.isfinite(gains).all() and (gains > 0).all() and gains.size == wav.shape[1]


def test_an_offset_changes_nothing_but_the_offset(speech):
    for active in (True, False):
        heard = []
        for offset in (0.0, 0.3):
            piece = (with_noise(speech, 10) + np.float32(offset))[None]
            heard.append(Conditioning(16000, active).before(piece)[0])
        difference = np.abs(heard[1] - heard[0]).max()
        assert difference == pytest.approx(0.0 if active else 0.3, abs=1e-4)


def test_what_comes_back_has_the_level_of_what_went_in(speech):
    care = Conditioning(16000)
    piece = np.stack([speech, 0.5 * speech])
    heard, known = care.before(piece)
    np.testing.assert_allclose(care.after(piece, heard, known), piece, atol=1e-4)
    silence = np.zeros((1, 4000), np.float32)
    heard, known = care.before(silence)
    assert known is None and care.after(silence, heard, known) is heard


def test_pauses_go_down_and_speech_stays(speech):
    murmur = 10 ** (-15 / 20)
    dry = np.concatenate([noise(48000, 0.05), with_noise(speech, 5), noise(48000, 0.05, seed=1)])
    wet = np.concatenate([dry[:48000] * murmur, speech, dry[-48000:] * murmur])
    lowered = lower_pauses(dry, wet, 16000)

    def level(wav):
        return 10 * np.log10(np.mean(wav**2))

    assert level(dry[:40000]) - level(lowered[:40000]) > 22
    middle = slice(48000 + 8000, 48000 + speech.size - 8000)
    assert level(lowered[middle]) == pytest.approx(level(wet[middle]), abs=0.2)
    np.testing.assert_array_equal(lower_pauses(dry, dry, 16000), dry)
    assert lower_pauses(dry[:10], wet[:10], 16000).size == 10


def test_the_detector_computes_what_the_package_does(speech):
    path = package_dir("silero_vad", "pip install silero-vad") / "data" / "silero_vad.jit"
    theirs, ours = torch.jit.load(path), SpeechDetector()
    # The package's TorchScript has newer weights than its safetensors: the same ones for both here.
    names = {
        "_model.stft.forward_basis_buffer": "stft_conv.weight",
        **{
            f"_model.encoder.{i}.reparam_conv.{kind}": f"conv{i + 1}.{kind}"
            for i in range(4)
            for kind in ("weight", "bias")
        },
        **{
            f"_model.decoder.rnn.{kind}_{side}": f"lstm.{kind}_{side}_l0"
            for kind in ("weight", "bias")
            for side in ("ih", "hh")
        },
        "_model.decoder.decoder.2.weight": "final_conv.weight",
        "_model.decoder.decoder.2.bias": "final_conv.bias",
    }
    weights = theirs.state_dict()
    ours.load_state_dict({name: weights[key] for key, name in names.items()})
    heard = torch.from_numpy(speech[: speech.size // FRAME * FRAME])
    with torch.no_grad():
        want = torch.cat([theirs(frame[None], 16000)[0] for frame in heard.split(FRAME)])
        torch.testing.assert_close(ours(heard[None])[0], want, atol=1e-5, rtol=0)


def test_speech_is_told_from_noise_at_every_rate(speech):
    for fs in (8000, 16000, 44100, 48000):
        heard = resample(speech, 16000, fs)
        assert np.median(chance_of_speech(heard, fs)) > 0.9
        assert chance_of_speech(noise(fs), fs).max() < 0.35
    assert chance_of_speech(speech[:0], 16000).size == 0
    assert chance_of_speech(speech[:1], 16000).size == 1


def heard(piece, listener=None):
    """A listener that has heard a piece."""
    listener = listener or Listener(16000)
    listener.hear(piece)
    return listener


def test_murmur_goes_where_nobody_spoke_for_seconds(speech):
    # What small networks make of music: something like speech, not far enough down for a pause.
    dry = noise(10 * 16000)
    murmur = np.resize(speech, dry.size)
    murmur *= 0.04 * np.sqrt(np.mean(dry**2) / np.mean(murmur**2))
    nobody = wordless(heard(dry).heard(), heard(murmur), dry, murmur)
    assert nobody.min() == 1.0
    lowered = lower_pauses(dry, murmur, 16000, nobody)
    # What is left is the noise itself, 40 dB down, and no voice.
    assert np.mean((lowered - 0.01 * dry) ** 2) < 0.1 * np.mean((0.01 * dry) ** 2)


def test_both_ears_must_hear_nothing_where_the_network_kept_the_sound(speech):
    dry, loud = noise(10 * 16000), np.resize(speech, 10 * 16000)
    nothing = heard(dry).heard()
    assert wordless(nothing, heard(dry), dry, dry).min() == 1.0
    assert not wordless(nothing, heard(loud), dry, loud).any(), "the network found speech"
    audible = heard(dry + loud).heard()
    assert not wordless(audible, heard(dry), dry, dry).any(), "the network lost the speech"
    np.testing.assert_array_equal(lower_pauses(dry, dry, 16000, np.zeros(500)), dry)


def test_where_the_input_is_in_doubt_hardly_anything_may_be_heard_in_the_output(speech):
    dry, loud = noise(10 * 16000), np.resize(speech, 10 * 16000)
    doubtful, likely = (Heard(np.full(500, chance), 500) for chance in (0.5, 0.65))
    assert wordless(doubtful, heard(dry), dry, dry).min() == 1.0
    assert not wordless(likely, heard(dry), dry, dry).any()
    # Of noise alone this would be a murmur (above); here it may be what is left of a voice.
    assert not wordless(doubtful, heard(0.04 * loud), dry, 0.04 * loud).any()


def test_a_word_stays_beside_seconds_of_noise(speech):
    dry = noise(10 * 16000)
    wet = 0.01 * dry
    wet[5 * 16000 : 6 * 16000] += speech[8000:24000]
    nobody = wordless(heard(dry).heard(), heard(wet), dry, wet)
    assert min(nobody[:200].min(), nobody[-150:].min()) > 0.95
    assert nobody[245:305].max() == 0.0


def test_short_pieces_remember_what_was_heard_before(speech):
    listener = Listener(16000)

    def told(wav):
        return [heard(piece, listener).heard().most() < 0.35 for piece in np.split(wav, 5)]

    quiet = told(noise(5 * 16000))
    assert not quiet[0].any() and all(piece.all() for piece in quiet[1:])  # one second is too short
    assert not np.concatenate(told(np.resize(speech, 5 * 16000))).any()
    quiet = told(noise(5 * 16000))
    assert not np.concatenate(quiet[:2]).any() and quiet[-1].any()
    assert heard(speech[:10]).heard().most().size == 0


def test_what_nobody_asks_about_is_heard_only_as_far_as_it_reaches(speech):
    always, late = Listener(16000), Listener(16000)
    for piece in np.split(np.concatenate([np.resize(speech, 8 * 16000), noise(8 * 16000)]), 16):
        known = heard(piece, always).heard()
        late.hear(piece)
    assert late._unheard.size == 3 * 16000
    once = late.heard()
    assert once.count == known.count and once.chance.size >= known.chance.size - 1
    assert np.abs(once.most() - known.most()).max() < 0.1


def test_noise_goes_down_far_and_every_branch_hears_the_same():
    wav = noise(3 * 16000)[None]
    care = Conditioning(16000)
    heard, prepared = care.before(wav)
    once, again = (care.after(wav, 0.05 * heard, prepared) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert 10 * np.log10(np.mean(wav**2) / np.mean(once**2)) > 35
