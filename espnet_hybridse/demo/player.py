"""An outcome as HTML: the player with its signals, the mask, the scores, what the gate saw."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from espnet_hybridse.demo.scores import SCALES, SECONDS
from espnet_hybridse.demo.studio import Outcome, Progress, Shown
from espnet_hybridse.inference.gate import Decision
from espnet_hybridse.inference.measures import Measures
from espnet_hybridse.inference.second_look import KEY

SCRIPT, STYLE = (Path(__file__).with_name(name) for name in ("player.js", "page.css"))
SAVE = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'aria-hidden="true">'
    '<path d="M12 4v11m-5-5 5 5 5-5M5 20h14"/></svg>'
)
MEASURES = {
    "snr_db": "signal to noise",
    "worst_snr_db": "signal to noise in the worst bands",
    "pause_db": "level over that of the pauses",
    "middle_db": "level over the median",
    "voiced": "share of voiced frames",
    "periodicity": "periodicity",
    "active": "share of active frames",
    "quiet": "share of quiet frames",
    "sparseness": "sparseness",
    "motion_db": "change from frame to frame",
    "flatness": "flatness of the spectrum",
    "decay_db_s": "decay of sounds",
    "gaps": "gaps in speech",
    "flat_share": "flat tops",
    "top_share": "crowding at the peak",
}
"""What decides at the gate, in words."""

UrlOf = Callable[[Path], str]


def player(outcome: Outcome, url_of: UrlOf, missing: str | None = None) -> str:
    """The result of an enhancement.

    Args:
        outcome: what there is.
        url_of: gives the address of a file.
        missing: why there are no scores.
    """
    scored = any(one.scores for one in outcome.signals)
    plain = "" if scored else " hs-plain"
    rows = "".join(_row(one, outcome, url_of, plain) for one in outcome.signals)
    titles = "".join(f"<span>{name}</span>" for name in SCALES.values())
    head = (
        f'<div class="hs-row hs-titles"><span></span><span></span>'
        f'<div class="hs-scores">{titles}</div><span></span></div>'
    )
    return (
        f'<hybridse-player data-seconds="{outcome.seconds:.4f}" tabindex="0">'
        '<div class="hs-bar"><button type="button" class="hs-play" aria-label="Play"></button>'
        f'<input type="range" class="hs-seek" aria-label="Position" min="0" step="0.01" value="0" '
        f'max="{outcome.seconds:.4f}"><span class="hs-time">{_clock(0)} / '
        f"{_clock(outcome.seconds)}</span></div>"
        f"{head if scored else ''}{rows}{_mask(outcome, plain)}{_facts(outcome, missing, scored)}"
        "</hybridse-player>"
    )


def _row(one: Shown, outcome: Outcome, url_of: UrlOf, plain: str) -> str:
    title = escape(one.title)
    scores = ""
    if not plain:
        values = one.scores or {}
        cells = (f"{values[name]:.2f}" if name in values else "–" for name in SCALES)
        scores = f'<div class="hs-scores">{"".join(f"<span>{cell}</span>" for cell in cells)}</div>'
    save = "<span></span>"
    if one.result is not None:
        save = (
            f'<a class="hs-save" href="{escape(url_of(one.result))}" '
            f'download="{escape(one.result.name)}" title="Download {title}" '
            f'aria-label="Download {title}">{SAVE}</a>'
        )
    return (
        f'<div class="hs-row{plain}" data-track="{one.name}">'
        f'<button type="button" class="hs-track" aria-pressed="false">{title}</button>'
        f'<div class="hs-picture"><img src="{one.picture}" alt="Spectrogram of {title}">'
        f'<span class="hs-khz">{outcome.fs / 2000:g} kHz</span></div>{scores}{save}'
        f'<audio preload="auto" muted src="{escape(url_of(one.sound))}"></audio></div>'
    )


def _mask(outcome: Outcome, plain: str) -> str:
    if outcome.mask is None:
        return ""
    return (
        f'<div class="hs-row hs-mask{plain}"><span class="hs-name">Mask M</span>'
        f'<div class="hs-picture"><img src="{outcome.mask}" alt="Mask of the fusion"></div>'
        '<div class="hs-legend"><i></i><div><span>all Gen.</span><span>all Dis.</span></div></div>'
        "</div>"
    )


def _facts(outcome: Outcome, missing: str | None, scored: bool) -> str:
    facts = {"Recording": f"{outcome.name}, {outcome.seconds:.2f} s, {outcome.fs} Hz"}
    if missing:
        facts["DNSMOS"] = f"none: {missing}"
    elif scored:
        part = f" of the first {SECONDS:g} s" if outcome.seconds > SECONDS else ""
        facts["DNSMOS"] = f"1 (bad) to 5 (excellent){part}"
    facts["Gate"] = gate_text(outcome.decision)
    facts["Playback"] = "all signals at one loudness; downloads have their own"
    if outcome.warnings:
        facts["Note"] = "; ".join(outcome.warnings)
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f'<dl class="hs-facts">{rows}</dl>'


def gate_text(decision: Decision | None) -> str:
    """What the gate decided and saw."""
    if decision is None:
        return "off: takes all of the enhancement"
    taken = f"takes {100 * decision.share:.0f} % of the enhancement"
    if decision.measures is None:
        return f"{taken}: {decision.because}"
    seen = _seen(decision.measures)
    if decision.because == KEY:
        return (
            f"{taken}: it measures as clean speech (a chance of {decision.chance:.2f}), but the "
            f"network changes more in it, {decision.change_db:.0f} dB. {seen}"
        )
    because = MEASURES.get(decision.because, decision.because)
    return f"{taken}; clean speech with a chance of {decision.chance:.2f}, by its {because}. {seen}"


def _seen(measures: Measures) -> str:
    return (
        f"Speech at {measures.level_db:.0f} dB, floor at {measures.floor_db:.0f} dB, signal to "
        f"noise {measures.snr_db:.0f} dB, band up to {measures.band_edge_hz / 1000:.1f} kHz, "
        f"{measures.speech_s:.1f} s with speech"
    )


def progress(now: Progress) -> str:
    """How far it is."""
    share = 100 * min(now.done_s / now.total_s, 1.0) if now.total_s else 0.0
    so_far = f": {now.done_s:.1f} of {now.total_s:.1f} s" if now.total_s else ""
    return (
        f'<div class="hs-note" role="status">{escape(now.doing.capitalize() + so_far)}'
        f'<div class="hs-progress"><div style="width:{share:.0f}%"></div></div></div>'
    )


def note(text: str, title: str = "", wrong: bool = False) -> str:
    """A message; `wrong` marks what could not be done."""
    head = f"<strong>{escape(title)}</strong>" if title else ""
    kind = 'hs-note hs-wrong" role="alert' if wrong else 'hs-note" role="status'
    return f'<div class="{kind}">{head}{escape(text)}</div>'


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
