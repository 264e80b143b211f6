"""The sources of the open corpus: repository, commit, files, licence, and what they are for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Files of one repository that serve one purpose.

    name: owner/name on GitHub
    kind: speech, noise or room
    paths, without: patterns of files that are used, and of those among them that are not
    licence: that of the audio, as its repository states it
    texts: files with transcripts or labels, which are taken along
    licence_file: file of the repository that says so, copied to data/LICENSES
    """

    name: str
    commit: str
    kind: str
    paths: tuple[str, ...]
    licence: str
    licence_file: str
    without: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"https://github.com/{self.name}"

    @property
    def folder(self) -> str:
        """Name of the folder that its files are extracted to."""
        return self.name.replace("/", "+")


SOURCES: tuple[Source, ...] = (
    Source(
        "resemble-ai/Resemblyzer",
        "15d828edebe06bc72b9cabc8ef8ca5ab2cb457ce",
        "speech",
        # Its other recordings stay out: they serve as final tests of speech enhancement.
        ("audio_data/librispeech_train-clean-100/*.flac",),
        "CC-BY-4.0 (LibriSpeech)",
        "audio_data/README.md",
    ),
    Source(
        "jimbozhang/speechocean762",
        "613968e3b0b789fc33936fb5eba1973176ba7d11",
        "speech",
        ("WAVE/*.WAV",),
        "CC-BY-4.0",
        "README.md",
        texts=("train/text", "test/text"),
    ),
    Source(
        "Picovoice/speech-to-intent-benchmark",
        "47b1ca63afe4f08cb83e1f70fec16764879bd130",
        "speech",
        ("data/speech/clean/*.wav",),
        "Apache-2.0",
        "LICENSE",
    ),
    Source(
        "Picovoice/wake-word-benchmark",
        "84919190fb1891bf0936dcb577d9268e467f876f",
        "speech",
        ("audio/*/*.flac", "audio/*/*.wav"),
        "Apache-2.0",
        "LICENSE",
    ),
    Source(
        "rhasspy/dataset-voice-kathleen",
        "c51cb971036a127359b43c621f26ca5081eab13e",
        "speech",
        ("data/*.wav",),
        "CC0-1.0",
        "LICENSE",
        texts=("data/*.txt",),
    ),
    Source(
        "rhasspy/dataset-voice-nathalie",
        "3b3e91f39d13e2e681d8937575efb9bd3b3d8f5c",
        "speech",
        ("verified/*.flac",),
        "CC0-1.0",
        "LICENSE",
        texts=("verified/metadata.csv",),
    ),
    Source(
        "rhasspy/dataset-voice-kerstin",
        "f73127135cf80d6ef52aef6af58c49774f4fd625",
        "speech",
        ("verified/*.flac",),
        "CC0-1.0",
        "LICENSE",
        texts=("verified/metadata.csv",),
    ),
    Source(
        "hugolpz/audio-cmn",
        "ff9ed3d0c631195bd2c06f39450f3264c7124040",
        "speech",
        ("96k/hsk/*.mp3", "64k/syllabs/*.mp3"),
        "CC-BY-SA",
        "README.md",
    ),
    Source(
        "marc-moreaux/kitchen20",
        "8bc9544507e8c3477eb8fcd3a6c841b661121220",
        "noise",
        ("audio/*.wav",),
        "clips of Freesound, each under its own Creative Commons licence",
        "LICENSE.md",
    ),
    Source(
        "remvze/moodist",
        "983f7412e8cd054e76d156977c563da2028e4428",
        "noise",
        ("public/sounds/*.mp3", "public/sounds/noise/*.wav"),
        "Pixabay Content License or CC0",
        "README.md",
        # A radio being tuned is speech; the alarm and Morse code are tones.
        without=("*/tuning-radio.mp3", "*/morse-code.mp3", "public/sounds/alarm.mp3"),
    ),
    Source(
        "mateusfg7/Noisekun",
        "d32024c67aba7c0577e1609944af00b9df1b7775",
        "noise",
        (".github/assets/sounds/*.ogg",),
        "CC0 or CC-BY",
        "README.md",
    ),
    Source(
        "Muges/ambientsounds",
        "7ef9aefeeed93c37bca3cdb246a982dd1afce2f0",
        "noise",
        ("*.ogg",),
        "CC0 or CC-BY",
        "readme.md",
    ),
    Source(
        "rafaelmardojai/blanket",
        "8b1c27aedde1d6ad8053ce5ad351a2924bcdb766",
        "noise",
        ("data/resources/sounds/*.ogg",),
        "CC0, CC-BY, CC-BY-SA or public domain",
        "SOUNDS_LICENSING.md",
    ),
    Source(
        "scikit-maad/scikit-maad",
        "a726add0f86b70a7c59f2a1b4ba5978f7ca8fdf1",
        "noise",
        ("data/*.wav",),
        "BSD-3-Clause",
        "LICENSE",
    ),
    Source(
        "JBFH-Dev/Keystroke-Datasets",
        "2ecdc09b6d1868aae50813f6a6c842bdd52dab06",
        "noise",
        ("Zoom/*.wav", "MBPWavs/*.wav"),
        "MIT",
        "LICENSE",
    ),
    Source(
        "gveres/donateacry-corpus",
        "6baf5aca0460964ad072653585837f968a87c2af",
        "noise",
        ("donateacry_corpus_cleaned_and_updated_data/*.wav",),
        "ODbL-1.0",
        "README.md",
    ),
    Source(
        "IoSR-Surrey/RealRoomBRIRs",
        "b41d237c03d1fe535810954ac4a8496f4e88f8fc",
        "room",
        ("UniS_Room_*.sofa",),
        "MIT",
        "LICENSE",
    ),
    Source(
        "rerdavies/ToobAmp",
        "e1c7b03395afc3ba39d60c1b2b59ccb73f802828",
        "room",
        ("impulseFiles/reverb/*.wav",),
        "CC-BY-4.0 (OpenAIR)",
        "impulseFiles/reverb/LICENSE.md",
        without=("*/Koli National Park*",),
    ),
    Source(
        "QVbDev/quantumVerb",
        "6801e015091c182a70e26471d3b58ee736eac2b9",
        "room",
        ("Resources/ImpulseResponses/*.wav",),
        "CC-BY-3.0 or CC-BY-SA-3.0 (OpenAIR)",
        "Resources/ImpulseResponses/CREDITS.md",
        without=("*/open_air.wav",),  # under a licence for non-commercial use
    ),
    Source(
        "GoogleChromeLabs/web-audio-samples",
        "f5fb1a57acce3f7f0a4aedb443de8cc39f206973",
        "room",
        # The other responses there are effects: filters, echoes, reversed tails.
        tuple(
            f"src/sounds/impulse-responses/{stem}.wav"
            for stem in (
                "binaural-s3_r4_bd",
                "cardiod-35-10-spread",
                "cardiod-rear-35-10",
                "cardiod-true-stereo-15-8",
                "echo-chamber",
                "kitchen-true-stereo",
                "omni-35-10",
                "super-ceiling-35-10",
            )
        ),
        "Apache-2.0",
        "LICENSE",
    ),
    Source(
        "csteinmetz1/pymixconsole",
        "49d86aeddfdd0b59c18830b02f63c98f721caf9d",
        "room",
        ("pymixconsole/irs/*.wav",),
        "Creative Commons (OpenAIR, Sound on Sound)",
        "pymixconsole/irs/README.md",
        without=("*/plate.wav",),  # no room
    ),
)
