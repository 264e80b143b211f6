"""A miniature of every corpus of the URGENT 2026 challenge, in its own folder layout."""

import json
from pathlib import Path

import numpy as np
import soundfile
from helpers.simulation_sources import voice

EMOTIONS = ("Angry", "Happy")
MLS = {"german": "die Katze", "spanish": "el gato", "french": "le chat", "english": "the cat"}
COMMONVOICE = {"de": "de", "en": "en", "es": "es", "fr": "fr", "zh-CN": "zh"}


class Miniature:
    """Writes the corpora below `root`; `folders` is what db.sh names."""

    def __init__(self, root: Path):
        self.root, self.number, self.folders = root, 0, {}

    def speech(self, path: str, fs: int, channels: int = 1, seconds: float = 0.7) -> None:
        self.number += 1
        self._write(path, voice(seconds, fs, self.number), fs, channels)

    def noise(self, path: str, fs: int, channels: int = 1, seconds: float = 0.9) -> None:
        self.number += 1
        noise = 0.1 * np.random.default_rng(self.number).standard_normal(int(seconds * fs))
        self._write(path, noise, fs, channels)

    def text(self, path: str, words: str, encoding: str = "utf-8") -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(words, encoding=encoding)

    def _write(self, path: str, wav: np.ndarray, fs: int, channels: int) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, np.repeat(wav[:, None], channels, axis=1), fs)

    def named(self, variable: str, folder: str) -> None:
        self.folders[variable] = self.root / folder


def make_corpora(root: Path) -> Miniature:
    """Every corpus, and in some of them what is bad: an empty, a broken and a missing file."""
    made = Miniature(root)
    for write in (audio_books, studio_voices, many_voices, noises, rooms):
        write(made)
    return made


def audio_books(made: Miniature) -> None:
    base = "dns5/Track1_Headset/mnt/dnsv5/clean/read_speech"
    for reader in ("00426", "01062", "06709", "08479"):
        made.speech(f"{base}/book_00000_chp_0009_reader_{reader}_0_seg_2_seg1.wav", 48000)
    made.text(f"{base}/book_00001_chp_0009_reader_06709_7_seg_0_seg1.wav", "no audio")
    made.speech(
        "dns5/Track1_Headset/resampled/book_00000_chp_0009_reader_00426_0_seg_2_seg1.wav", 8000
    )
    made.named("DNS5_SPEECH", "dns5/Track1_Headset")
    for part, speaker in (("train-clean-100", 84), ("dev-clean", 1272), ("test-clean", 61)):
        uid = f"{speaker}_121123_000017_000000"
        made.speech(f"LibriTTS/{part}/{speaker}/121123/{uid}.wav", 24000)
        made.text(f"LibriTTS/{part}/{speaker}/121123/{uid}.normalized.txt", "Go on.\n")
    made.named("LIBRITTS", "LibriTTS")
    for language, words in MLS.items():
        form = f"mls_{language}" if language != "french" else "french"
        for part, speaker in (("train", 10), ("dev", 20), ("test", 30)):
            folder = f"mls/{form}/{part}{'_track1' if (form, part) == ('french', 'train') else ''}"
            uid = f"{speaker}_5_000001"
            inner = "" if form == "french" else f"{speaker}/5/"
            made.speech(f"{folder}/audio/{inner}{uid}.flac", 16000)
            made.text(f"{folder}/transcripts.txt", f"{uid}\t{words}\n")
    made.named("MLS", "mls")


def studio_voices(made: Miniature) -> None:
    for speaker in ("p225", "p226", "p232"):
        for microphone in (1, 2):
            made.speech(
                f"VCTK/wav48_silence_trimmed/{speaker}/{speaker}_001_mic{microphone}.flac", 48000
            )
        made.text(f"VCTK/txt/{speaker}/{speaker}_001.txt", "Please call Stella.\n")
    made.named("VCTK", "VCTK")
    for speaker in ("p001", "p100", "p102"):
        made.speech(f"ears/{speaker}/rainbow_01_regular.wav", 48000)
        made.speech(f"ears/{speaker}/vegetative_eating.wav", 48000)
    made.text("ears/transcripts.json", json.dumps({"rainbow_01_regular": "When the sunlight"}))
    made.named("EARS", "ears")
    made.speech("VocalSet/FULL/female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav", 44100)
    made.speech("VocalSet/FULL/male1/scales/belt/m1 scales (belt) e.wav", 44100)
    made.named("VOCALSET", "VocalSet")
    for speaker, words, encoding in (
        ("0001", "打远一看", "gb18030"),
        ("0011", "The nine", "utf-8"),
    ):
        rows = []
        for number, emotion in enumerate(EMOTIONS, 351):
            uid = f"{speaker}_{number:06d}"
            inner = "train/" if speaker == "0001" else ""
            made.speech(f"ESD/{speaker}/{emotion}/{inner}{uid}.wav", 16000)
            rows.append(f"{uid}\t{words} {emotion}\t{emotion}\n")
        made.text(f"ESD/{speaker}/{speaker}.txt", "".join(rows), encoding)
    made.named("ESD", "ESD")


def many_voices(made: Miniature) -> None:
    header = "client_id\tpath\tsentence_id\tsentence\tup_votes\n"
    for language, tag in COMMONVOICE.items():
        for number, part in enumerate(("train", "dev", "test")):
            uid = f"common_voice_{language}_1730055{number}"
            rows = [f'{tag}{part}client\t{uid}.mp3\t1\tOne "word"\t2\n']
            spread = "000/" if language == "de" else ""
            made.speech(f"cv/{language}/clips/{spread}{uid}.mp3", 32000)
            if (language, part) == ("es", "train"):
                rows.append(f"{tag}gone\tcommon_voice_es_1.mp3\t1\tGone\t2\n")
            made.text(f"cv/{language}/{part}.tsv", header + "".join(rows))
    made.named("COMMONVOICE", "cv")
    for half in ("Read_Speech_Data", "Spontaneous_Speech_Data"):
        folder = f"NNCES/{half}/{half}/8Y/Boys_8/M5/M5_10"
        made.speech(f"{folder}/M5_10_02.wav", 44100, channels=2)
    made._write(f"{folder}/M5_10_01.wav", np.zeros(0), 44100, 2)
    made.named("NNCES", "NNCES")
    for number, part in enumerate(("train", "dev", "test")):
        uid = f"Elderly0122S000{number}W0026"
        made.speech(f"SeniorTalk/sentence_data/wav/{part}/{part}-0001/{uid}.wav", 16000)
        made.text(f"SeniorTalk/sentence_data/transcript/{uid}.txt", f"{uid}\t吃饭了吗\n")
    made.named("SENIORTALK", "SeniorTalk")


def noises(made: Miniature) -> None:
    for number in range(3):
        made.noise(f"noise_fullband/audioset_00{number}/n{number}.wav", 48000)
    made.named("DNS5_NOISE", "noise_fullband")
    rows = ["Filename,Location ID,WHAM! Split\n"]
    for part in ("Train", "Valid", "Test"):
        made.noise(f"high_res_wham/audio/{part}1.wav", 48000, channels=2)
        rows.append(f"{part}1.wav,3,{part}\n")
    made.text("high_res_wham/high_res_metadata.csv", "".join(rows))
    made.named("WHAM", "high_res_wham")
    rows = ["fname,labels,mids,split\n"]
    for fname, labels, part in (
        (1, "Bark,Dog", "train"),
        (2, "Shout,Human_voice", "train"),
        (3, "Rain", "val"),
    ):
        made.noise(f"FSD50K/FSD50K.dev_audio/{fname}.wav", 44100)
        rows.append(f'{fname},"{labels}","/m/1",{part}\n')
    made.text("FSD50K/FSD50K.ground_truth/dev.csv", "".join(rows))
    made.noise("FSD50K/FSD50K.eval_audio/4.wav", 44100)
    made.text("FSD50K/FSD50K.ground_truth/eval.csv", 'fname,labels,mids\n4,"Wind","/m/2"\n')
    made.named("FSD50K", "FSD50K")
    rows = [",album,set,set\n", ",title,split,subset\n", "track_id,,,\n"]
    for track, part in ((2, "training"), (3, "validation"), (5, "test")):
        made.noise(f"fma/fma_medium/000/{track:06d}.mp3", 44100, channels=2)
        rows.append(f"{track},x,{part},medium\n")
    made.text("fma/fma_metadata/tracks.csv", "".join(rows))
    made.named("FMA", "fma")
    for number in range(3):
        made.noise(f"wind/w{number}.wav", 48000)
    made.named("WIND", "wind")


def rooms(made: Miniature) -> None:
    for number in range(3):
        for position in (1, 2):
            path = f"largeroom/Room00{number}/Room00{number}-0000{position}.wav"
            made.noise(f"impulse_responses/SLR26/simulated_rirs_48k/{path}", 48000, seconds=0.1)
    real = "impulse_responses/SLR28/RIRS_NOISES"
    made.noise(f"{real}/real_rirs_isotropic_noises/RVB2014_type1_noise_room1_1.wav", 16000)
    made.noise(f"{real}/pointsource_noises/x.wav", 16000)
    made.named("RIRS", "impulse_responses")


def write_db(made: Miniature, path: Path, without: tuple[str, ...] = ()) -> Path:
    """A db.sh that names the folders."""
    lines = [
        f"{name}={'' if name in without else folder}\n" for name, folder in made.folders.items()
    ]
    path.write_text("".join(lines))
    return path
