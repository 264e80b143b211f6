"""The discriminative branch; `TFGridNetSFI` is imported when it is first named."""


def __getattr__(name: str):
    if name == "TFGridNetSFI":
        from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI

        return TFGridNetSFI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
