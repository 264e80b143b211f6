"""The metrics of the results table, by category in the challenge's order."""

from collections.abc import Mapping, Sequence

from espnet_hybridse.fileio.yaml_config import nearest
from espnet_hybridse.scoring.metrics.character_accuracy import (
    CAccFloored,
    CAccOwsm,
    CAccWhisper,
    WhisperLoops,
)
from espnet_hybridse.scoring.metrics.composite import Composite
from espnet_hybridse.scoring.metrics.distillmos import DistillMos
from espnet_hybridse.scoring.metrics.dnsmos import Dnsmos
from espnet_hybridse.scoring.metrics.emotion_similarity import EmoSim
from espnet_hybridse.scoring.metrics.estoi import Estoi
from espnet_hybridse.scoring.metrics.language_accuracy import LidAccuracy, LidWhisper
from espnet_hybridse.scoring.metrics.lsd import Lsd
from espnet_hybridse.scoring.metrics.mcd import Mcd
from espnet_hybridse.scoring.metrics.metric import Metric
from espnet_hybridse.scoring.metrics.nisqa import Nisqa
from espnet_hybridse.scoring.metrics.pesq import Pesq
from espnet_hybridse.scoring.metrics.phoneme_similarity import PhonemeSimilarity
from espnet_hybridse.scoring.metrics.plcmos import PlcMos
from espnet_hybridse.scoring.metrics.scoreq import Scoreq
from espnet_hybridse.scoring.metrics.si_sdr import SiSdr
from espnet_hybridse.scoring.metrics.speaker_similarity import SpkSim, SpkSimResemblyzer
from espnet_hybridse.scoring.metrics.speechbertscore import SpeechBertScore
from espnet_hybridse.scoring.metrics.utmos import Utmos

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Dnsmos("OVRL"),
        Dnsmos("SIG"),
        Dnsmos("BAK"),
        Nisqa(),
        Utmos(),
        Scoreq(),
        DistillMos(),
        PlcMos(),
        Pesq(),
        Estoi(),
        SiSdr(),
        Lsd(),
        Mcd(),
        Composite("CSIG"),
        Composite("CBAK"),
        Composite("COVL"),
        SpeechBertScore(),
        PhonemeSimilarity(),
        SpkSim(),
        SpkSimResemblyzer(),
        EmoSim(),
        LidAccuracy(),
        LidWhisper(),
        CAccOwsm(),
        CAccWhisper(),
        CAccFloored(),
        WhisperLoops(),
    )
}
"""Column -> metric. An instance is cheap: it loads its model at its first utterance."""


def select(words: Sequence[str]) -> list[str]:
    """Columns for the words of --metrics (`all`, keys or column names, in any case).

    Raises:
        ValueError: an unknown word; the message lists the known ones and the nearest.
    """
    known = {metric.key.lower(): name for name, metric in METRICS.items()}
    known.update({name.lower(): name for name in METRICS})
    chosen = set()
    for word in words:
        if word.lower() == "all":
            chosen.update(METRICS)
        elif word.lower() in known:
            chosen.add(known[word.lower()])
        else:
            meant = METRICS[known[nearest(word.lower(), known, 0.0)]].key
            keys = ", ".join(metric.key for metric in METRICS.values())
            raise ValueError(
                f"unknown metric {word!r}: did you mean {meant!r}? The metrics are: all, {keys}"
            )
    return [name for name in METRICS if name in chosen]


def check_keys(models: Mapping[str, str]) -> dict[str, str]:
    """--models with the metrics' own keys; raises ValueError for one without weights of its own."""
    takes = {m.key.lower(): m.key for m in METRICS.values() if m.model_id}
    for word in models:
        if word.lower() not in takes:
            raise ValueError(f"--models {word}=…: expected one of {', '.join(takes.values())}")
    return {takes[word.lower()]: value for word, value in models.items()}
