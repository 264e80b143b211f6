"""Synthetic speech: which voice says what, and that nothing is said twice."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from espnet_hybridse.corpora.mini.debian_packages import FetchError
from espnet_hybridse.corpora.open import synthesis
from espnet_hybridse.corpora.open.kokoro import FS, fetch_voices, translate
from espnet_hybridse.corpora.open.synthesis import find_sentences, plan, synthesize, voices_of

WORDS = ("never", "always", "perhaps", "seldom", "often", "today", "nobody", "somebody")


@pytest.fixture
def downloads(tmp_path):
    """Packages as they lie unpacked: voices of three languages, texts, captions of drawings."""
    packages = tmp_path / "packages"
    voices = packages / "kokoro-js" / "package" / "voices"
    voices.mkdir(parents=True)
    for name in ("af_bella", "af_nova", "am_adam", "af_sky", "am_liam", "jf_alpha", "ff_siwis"):
        np.zeros((510, 256), np.float32).tofile(voices / f"{name}.bin")
    for name, text in {
        "fortunes": "".join(
            f"People {first} tell {second} what {third} did.\n\t\t-- A. Nonymous\n%\n"
            for first in WORDS
            for second in WORDS
            for third in WORDS
        )
        + "Q: 12 of THEM (at least)?\n%\n",
        "fortunes-es": "",
        "fortunes-it": "",
        "fortunes-br": "",
    }.items():
        folder = packages / name / "usr/share/games/fortunes"
        folder.mkdir(parents=True)
        (folder / "quotes").write_text(text)
        (folder / "quotes.dat").write_bytes(b"\0\1")
    stamps = packages / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/animals"
    stamps.mkdir(parents=True)
    (stamps / "lion.txt").write_text("A lion.\nfr.utf8=Un lion heureux !\nde.utf8=Ein Löwe.\n")
    return tmp_path


def test_sentences_can_be_read_aloud_as_they_are(downloads):
    found = find_sentences(downloads)
    assert len(found["en"]) == 512
    assert not any("THEM" in text or "Nonymous" in text for text in found["en"])
    assert found["fr"] == ["Un lion heureux !"]


def test_voices_and_sentences_of_a_set_are_in_no_other(downloads):
    lines = plan(downloads, 0.4, seed=0)
    sets = {line.set for line in lines}
    assert sets == {"train", "valid", "test"}
    for kind in ("voices", "texts"):
        groups = [
            {part for line in lines if line.set == name for part in _parts(line, kind)}
            for name in sorted(sets)
        ]
        assert not groups[0] & groups[1] and not groups[1] & groups[2] and not groups[0] & groups[2]
    assert len({line.text for line in lines}) == len(lines)
    assert not any(line.voice.startswith("j") for line in lines)
    assert any("+" in line.voice for line in lines if line.set == "train")


def _parts(line, kind):
    return line.voice.split("+") if kind == "voices" else [line.text]


def test_more_hours_add_lines_and_change_none(downloads):
    few, many = plan(downloads, 0.1, seed=0), plan(downloads, 0.3, seed=0)
    assert len(many) > len(few)
    assert set(few) <= set(many)


def test_mixed_voices_are_of_one_language_and_sex(downloads):
    voices = sorted(path.stem for path in fetch_voices(downloads).glob("*.bin"))
    assert voices_of("test", voices) == ["af_nova"]
    mixed = [voice for voice in voices_of("train", voices) if "+" in voice]
    assert mixed == ["af_bella+af_sky"]


def test_what_was_said_is_kept_and_only_the_rest_is_said(downloads, tmp_path, monkeypatch):
    class Tone:
        """A voice that hums; nobody needs 90 MB of weights to see what is kept."""

        said: list[str] = []

        def speak(self, text, voice, speed):
            if "nobody did" in text:
                raise ValueError("cannot be said")
            self.said.append(text)
            return 0.1 * np.sin(np.arange(FS) / 10).astype(np.float32)

    monkeypatch.setattr(synthesis, "_kokoro", lambda downloads: Tone())
    with ThreadPoolExecutor(1) as pool:
        sets = synthesize(downloads, tmp_path / "out", 0.05, 0, pool)
        spoken = [utterance for members in sets.values() for utterance in members]
        assert sorted(utterance.text for utterance in spoken) == sorted(Tone.said)
        assert not any("nobody did" in text for text in Tone.said)
        count = len(Tone.said)
        again = synthesize(downloads, tmp_path / "out", 0.05, 0, pool)
    assert len(Tone.said) == count and again == sets


def test_phonemes_are_the_letters_that_the_network_knows():
    assert translate("ðə kwˈɪk bɹˈa^ʊn fˈɑːks ɡˈo^ʊz", "a") == "ðə kwˈɪk bɹˈWn fˈɑks ɡˈOz"
    assert translate("ɡˈə^ʊz", "b") == "ɡˈQz"
    assert translate("kˈarta d^ʒˈalla", "i") == "kˈarta ʤˈalla"


def test_missing_programs_are_named_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="npm.*kokoro-js-1.2.1.tgz"):
        fetch_voices(tmp_path)
