"""Utterances by number: lists are mapped, waveforms are read where they are cut."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from espnet2.train.dataset import AbsDataset

from espnet_hybridse.data.mapped_list import MappedList, join
from espnet_hybridse.data.streams import Waveform
from espnet_hybridse.fileio.audio import BadAudio
from espnet_hybridse.fileio.lists import ListError

Data = dict[str, np.ndarray]
AUDIO_TYPES = ("sound", "kaldi_ark")


class CropDataset(AbsDataset):
    """The utterances that stand in all lists, taken by their number in the order of their keys.

    Does what ESPnet's ESPnetDataset does for waveforms and whole numbers, with lists of any length
    and without decoding what the preprocessor leaves out.

    Args:
        streams: ESPnet's (path, name, type), type "sound", "kaldi_ark" or "text_int"; "fs" among
            the names.
        lengths: list of `uid samples`, ESPnet's shape file.
        preprocess: called with (uid, {name: waveform or numbers}).

    Attributes:
        uids: (N,) bytes.
        fs: (N,) int32, rates in Hz.
        samples: (N,) int64, lengths.
        total: lines of the longest list.
        labels: of each utterance, where somebody has set them; see labels_of.

    Raises:
        ListError: a list is malformed, or no utterance stands in all of them.
        ValueError: a type that is none of these, or no "fs".
    """

    def __init__(
        self,
        streams: Sequence[tuple[str, str, str]],
        lengths: str,
        preprocess: Callable[[str, Data], Data],
    ):
        self.preprocess = preprocess
        self.labels: Mapping[str, Sequence[str]] | None = None
        self.types = {name: kind for _, name, kind in streams}
        for name, kind in self.types.items():
            if kind not in (*AUDIO_TYPES, "text_int"):
                raise ValueError(
                    f"{name}: type {kind!r} is not one of {', '.join(AUDIO_TYPES)}, text_int"
                )
        paths = {name: path for path, name, _ in streams}
        if "fs" not in paths:
            raise ValueError(
                f"the data are {', '.join(paths)}, without fs; add "
                "'dump/raw/<set>/utt2fs,fs,text_int'"
            )
        self.lists = {name: MappedList(path) for name, path in paths.items()}
        shapes = MappedList(lengths)
        self.total = max(map(len, (*self.lists.values(), shapes)))
        self.uids, rows = join([*self.lists.values(), shapes])
        if not len(self.uids):
            raise ListError(
                f"no utterance stands in all of {', '.join(paths.values())}; run the stages that "
                "made them again"
            )
        self.rows = dict(zip(self.lists, rows[:-1], strict=True))
        self.fs = self.lists["fs"].integers(self.rows["fs"]).astype(np.int32)
        self.samples = shapes.integers(rows[-1])
        for item in self.lists.values():
            item.forget_keys()

    def keep(self, chosen: np.ndarray) -> None:
        """Leave out all utterances but those of these numbers."""
        self.uids, self.fs, self.samples = (
            values[chosen] for values in (self.uids, self.fs, self.samples)
        )
        self.rows = {name: rows[chosen] for name, rows in self.rows.items()}

    def __len__(self) -> int:
        return len(self.uids)

    def has_name(self, name: str) -> bool:
        """Whether there is such an input."""
        return name in self.lists

    def names(self) -> tuple[str, ...]:
        """All inputs."""
        return tuple(self.lists)

    def __getitem__(self, number: int) -> tuple[str, Data]:
        """Key and preprocessed data of one utterance; float32 and int64."""
        uid = self.uids[number].decode("utf-8")
        data, opened = {}, []
        try:
            for name, table in self.lists.items():
                if name == "fs":
                    data[name] = self.fs[number : number + 1]
                    continue
                value = table.value(self.rows[name][number])
                if self.types[name] == "text_int":
                    data[name] = np.array(value.split(), dtype=np.int64)
                else:
                    data[name] = Waveform(value)
                    opened.append(data[name])
                    if data[name].fs != self.fs[number]:
                        raise BadAudio(
                            f"{uid}: {value} is of {data[name].fs} Hz, utt2fs says "
                            f"{self.fs[number]}; run the stage that made it again"
                        )
            done = self.preprocess(uid, data)
        finally:
            for wave in opened:
                wave.close()
        kinds = {"f": np.float32, "i": np.int64}
        return uid, {name: value.astype(kinds[value.dtype.kind]) for name, value in done.items()}
