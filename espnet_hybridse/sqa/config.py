"""What `hybridse train-sqa` is told by its YAML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.yaml_config import ConfigError, check_arguments, read_yaml
from espnet_hybridse.sqa.network import UniVersaExt


@dataclass(frozen=True)
class SQAConfig:
    """A small quality network and its training (all our choice; the published one is fixed).

    Args:
        heads: name -> {column: of scores.jsonl, range: [worst, best]}.
        network: keyword arguments of UniVersaExt but `heads`.
        chunk_s: seconds of each piece.
        batch_size, lr, weight_decay, max_epoch, grad_clip: of the training with AdamW; the
            learning rate falls to 0 over `max_epoch` or the time budget, whichever ends first.

    Raises:
        ConfigError: a value that does not fit.
    """

    heads: dict[str, dict[str, Any]]
    network: dict[str, Any] = field(default_factory=dict)
    chunk_s: float = 4.0
    batch_size: int = 8
    lr: float = 1e-3
    weight_decay: float = 1e-2
    max_epoch: int = 50
    grad_clip: float = 5.0

    def __post_init__(self):
        if not self.heads:
            raise ConfigError("heads is empty; name one metric at least")
        for name, head in self.heads.items():
            low, high = head.get("range", (1.0, 5.0))
            if "column" not in head or set(head) - {"column", "range"} or not high > low:
                raise ConfigError(
                    f"heads: {name}: {head} is not {{column: NAME, range: [worst, best]}}"
                )
        for name in ("chunk_s", "batch_size", "lr", "max_epoch"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be above 0")

    @classmethod
    def read(cls, path: Path) -> "SQAConfig":
        """From a YAML file.

        Raises:
            ConfigError: no such file, an unknown key or a wrong value.
        """
        given = read_yaml(path)
        check_arguments(cls, given, str(path))
        check_arguments(UniVersaExt, given.get("network") or {}, f"{path}: network")
        return cls(**given)

    def build(self) -> UniVersaExt:
        """The network with random weights and the heads' ranges."""
        network = UniVersaExt(**self.network, heads=tuple(self.heads))
        for name, head in self.heads.items():
            low, high = head.get("range", (1.0, 5.0))
            network.metric2act[name].min_value.fill_(low)
            network.metric2act[name].max_value.fill_(high)
        return network
