"""espnet_hybridse: hybrid discriminative and generative speech enhancement, as an ESPnet plugin."""

from espnet_hybridse.runtime.version import __version__ as __version__


def register() -> None:
    """Make the package's names known to stock ESPnet; see :mod:`espnet_hybridse.plugin`."""
    from espnet_hybridse.plugin import register as register_all

    register_all()


def __getattr__(name: str):
    # Importing ESPnet and torch takes seconds; `import espnet_hybridse` stays light.
    if name == "Enhancer":
        from espnet_hybridse.inference.enhancer import Enhancer

        return Enhancer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
