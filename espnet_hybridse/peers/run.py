"""Run of a peer over a list of files: in parallel, resumable, bad files quarantined."""

from pathlib import Path

from tqdm import tqdm

from espnet_hybridse.fileio.audio import BadAudio, read_audio, write_audio
from espnet_hybridse.fileio.lists import Quarantine
from espnet_hybridse.inference.files.jobs import Job, is_done, plan_jobs, write_scp
from espnet_hybridse.peers import PEERS
from espnet_hybridse.peers.peer import Peer
from espnet_hybridse.runtime.workers import worker_pool


def enhance_with(peer: Peer, noisy_scp: Path, out: Path, nj: int = 1) -> Path:
    """Enhance every file of a list into `out/wav`; returns the list of results.

    Raises:
        AssetMissing: the peer is not installed.
        ListError: the list is missing or malformed.
        RuntimeError: no file could be enhanced.
    """
    peer.check()
    jobs = plan_jobs(noisy_scp, out)
    todo = [job for job in jobs if not is_done(job)]
    quarantine = Quarantine(out / "enhancement_quarantine.tsv")
    if todo:
        with worker_pool(min(nj, len(todo))) as pool:
            results = pool.map(enhance_file, [peer.key] * len(todo), todo)
            bar = tqdm(results, total=len(todo), desc=peer.key, unit="utt")
            for job, reason in zip(todo, bar, strict=True):
                if reason is not None:
                    quarantine.add(job.uid, job.source, reason)
    if quarantine.count == len(jobs):
        raise RuntimeError(f"{peer.name} enhanced no file; see {quarantine.path}")
    write_scp(jobs, out / "spk1.scp")
    return out / "spk1.scp"


def enhance_file(key: str, job: Job) -> str | None:
    """Write one result; return the reason where that is not possible.

    The peer is named by its key: its model is loaded once a worker and does not travel.
    """
    try:
        wav, fs = read_audio(job.source)
        write_audio(job.target, PEERS[key](wav, fs), fs)
    except BadAudio as error:
        return str(error)
    except Exception as error:  # third-party code: one file must not end the batch
        return f"{type(error).__name__}: {error}"
    return None
