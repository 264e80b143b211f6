"""Lists of dry clean speech, for training that distorts it on the fly."""

from pathlib import Path

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import Quarantine, write_list
from espnet_hybridse.simulation.sources import Sources, SpeechPool


def write_dry_lists(sources: Sources, pool: SpeechPool, out: str | Path) -> tuple[int, int]:
    """Write the lists of a set whose audio is the speech sources themselves, at their own rates.

    `spk1.scp` comes last, as wav.scp does in a rendered set; there is no wav.scp.

    Returns:
        Number of utterances, and of those in quarantine.tsv.

    Raises:
        ValueError: no speech has one of the seven rates.
    """
    out = Path(out)
    quarantine = Quarantine(out / "quarantine.tsv")
    quarantine.extend(pool.bad)
    kept = {}
    for uid, seconds in pool.seconds.items():
        fs, path = sources.speech[uid]
        if uid in pool.several:
            quarantine.add(uid, path, "several channels: training reads the file itself")
        elif fs in RATES:
            kept[uid] = (fs, path, round(seconds * fs))
        else:
            quarantine.add(uid, path, f"rate {fs} Hz is not one of {', '.join(map(str, RATES))}")
    if not kept:
        raise ValueError(f"{out}: no speech has one of the seven rates; see {quarantine.path}")
    labels = {
        "utt2spk": {uid: sources.utt2spk.get(uid, uid) for uid in kept},
        "utt2lang": {uid: sources.utt2lang.get(uid, "unknown") for uid in kept},
        "text": {uid: sources.text[uid] for uid in kept if uid in sources.text},
    }
    for name, table in labels.items():
        write_list(out / name, table)
    columns = zip(*kept.values(), strict=True)
    for name, column in zip(("utt2fs", "spk1.scp", "speech_length.scp"), columns, strict=True):
        write_list(out / name, dict(zip(kept, column, strict=True)))
    return len(kept), quarantine.count
