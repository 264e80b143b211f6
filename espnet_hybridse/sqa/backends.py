"""Names of the SQA loss's quality networks, and the columns that each was made to predict."""

MODEL_ID = "vvwangvv/universa-ext_wavlm-base_5metric"
"""The published network of the paper."""
PACKAGED = "dnsmos"
"""Networks that need no download."""
OFF = "none"

PACKAGED_COLUMNS = ("DNSMOS OVRL", "DNSMOS SIG", "DNSMOS BAK")
PUBLISHED_COLUMNS = ("DNSMOS OVRL", "NISQA", "UTMOS", "SCOREQ")
"""Of the results table; its fifth head predicts opinion scores of people."""


def columns_of(checkpoint: str | None) -> tuple[str, ...]:
    """The columns that a loss with this `checkpoint` trains on."""
    if checkpoint in (None, OFF):
        return ()
    return PACKAGED_COLUMNS if checkpoint == PACKAGED else PUBLISHED_COLUMNS
