"""`python -m espnet_hybridse.bin.enh_inference`: `espnet2.bin.enh_inference` with our models.

Stock ESPnet takes every file for one of 8 kHz unless told otherwise. Here each file's rate is that
of its header, or of the list given as `utt2fs` (or `fs`), and `--fs` only says what all must have.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from espnet2.bin import enh_inference

from espnet_hybridse.fileio.decode import read_info
from espnet_hybridse.fileio.formats import BadAudio
from espnet_hybridse.fileio.lists import ListError, read_list
from espnet_hybridse.model.build import resampled
from espnet_hybridse.training.task import HybridEnhancementTask

RATE_NAMES = ("fs", "utt2fs")
Stream = tuple[str, str, str]
"""Path, name and type of `--data_path_and_name_and_type`."""


class InferenceTask(HybridEnhancementTask):
    """The task without training's crops: whole files come in as they are."""

    @classmethod
    def optional_data_names(cls, train=True, inference=False):
        return (*super().optional_data_names(train, inference), "utt2fs")

    @classmethod
    def build_preprocess_fn(cls, args, train):
        return None


class SeparateSpeech(enh_inference.SeparateSpeech):
    """ESPnet's, but a model of one rate hears others at its own, and its output comes back."""

    def __call__(self, speech_mix, fs: int = 8000, **kwargs):
        own_fs = getattr(self.enh_model, "own_fs", None)
        if own_fs in (None, fs):
            return super().__call__(speech_mix, fs=fs, **kwargs)
        mixed = torch.as_tensor(speech_mix)
        waves = super().__call__(resampled(mixed, fs, own_fs), fs=own_fs, **kwargs)
        back = [resampled(torch.as_tensor(wave), own_fs, fs) for wave in waves]
        return [np.asarray(wave[:, : mixed.shape[1]]) for wave in back]


def get_parser():
    """The parser of `espnet2.bin.enh_inference`; no rate is its default."""
    parser = enh_inference.get_parser()
    parser.set_defaults(fs=None)
    return parser


def rates_of(streams: list[Stream], fs: int | None) -> dict[str, int]:
    """Return the rate of every utterance in Hz, in the order in which they are read.

    Args:
        streams: of the command line.
        fs: what the command line says that all have; None says nothing.

    Raises:
        ListError: there is no such list, an utterance lacks a rate, or its rate is no number or
            not `fs`.
    """
    mixed = [path for path, name, _ in streams if name == "speech_mix"]
    given = [path for path, name, _ in streams if name in RATE_NAMES]
    if not mixed:
        raise ListError(
            "no list of speech_mix: pass --data_path_and_name_and_type LIST,speech_mix,sound"
        )
    files = read_list(mixed[0])
    if given:
        said = read_list(given[0])
        missing = [uid for uid in files if not said.get(uid, "").strip().isdigit()]
        if missing:
            raise ListError(
                f"{given[0]}: no rate in Hz for {missing[0]} ({len(missing)} such), which "
                f"{mixed[0]} names"
            )
        rates = {uid: int(said[uid]) for uid in files}
    elif fs is not None and any(path.rstrip().endswith("|") for path in files.values()):
        rates = dict.fromkeys(files, fs)  # pipes have no header to be read beforehand
    else:
        rates = {}
        for uid, path in files.items():
            try:
                rates[uid] = read_info(path).fs
            except BadAudio as error:
                raise ListError(
                    f"{mixed[0]}: {uid} tells no rate ({error}); pass a list of rates as "
                    "utt2fs,utt2fs,text_int"
                ) from error
    for uid, rate in rates.items():
        if fs not in (None, rate):
            raise ListError(
                f"--fs {fs}, but {uid} has {rate} Hz; leave --fs out: every file is enhanced at "
                "its own rate"
            )
    return rates


def main(cmd=None):
    """Enhance with stock ESPnet's `SeparateSpeech`; `cmd` as in espnet2."""
    parser = get_parser()
    options = vars(parser.parse_args(cmd))
    options.pop("config", None)
    try:
        rates = rates_of(options["data_path_and_name_and_type"], options["fs"])
    except ListError as error:
        parser.error(str(error))
    # The stock module looks these up by name.
    names = {"EnhancementTask": InferenceTask, "SeparateSpeech": SeparateSpeech}
    with TemporaryDirectory() as folder, patch.multiple(enh_inference, **names):
        utt2fs = Path(folder) / "utt2fs"
        utt2fs.write_text("".join(f"{uid} {rate}\n" for uid, rate in rates.items()))
        streams = [s for s in options["data_path_and_name_and_type"] if s[1] not in RATE_NAMES]
        options["data_path_and_name_and_type"] = [*streams, (str(utt2fs), "utt2fs", "text_int")]
        options["fs"] = next(iter(rates.values()))  # not used: every utterance names its own
        enh_inference.inference(**options)


if __name__ == "__main__":
    main()
