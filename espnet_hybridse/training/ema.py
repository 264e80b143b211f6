"""An exponential moving average of the weights, which validation and inference then use."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

import torch
from torch import nn


class WeightAverage:
    """`average <- d * average + (1 - d) * weights` after every optimiser step.

    d is `decay`, but `(1 + n) / (10 + n)` at step n while that is smaller, so that the random
    start is forgotten (as in TensorFlow's ExponentialMovingAverage). Parameters that are not
    trained are not kept twice. Buffers are those of the model.

    Args:
        model: whose parameters are averaged; not a wrapper of it.
        decay: d.

    Raises:
        ValueError: a decay outside 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0.0 < decay < 1.0:
            raise ValueError(
                f"ema_decay={decay}: expected a number between 0 and 1, such as 0.999; null is off"
            )
        self.model, self.decay, self.updates = model, decay, 0
        self.shadow: Optional[Dict[str, torch.Tensor]] = None

    def _trained(self) -> Dict[str, nn.Parameter]:
        # A parameter with two names stands twice in a state dict.
        named = self.model.named_parameters(remove_duplicate=False)
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def start(self) -> None:
        """Begin with the weights as they are, unless a state has been loaded."""
        if self.shadow is None:
            self.shadow = {name: p.detach().clone() for name, p in self._trained().items()}

    @torch.no_grad()
    def update(self, *_: Any) -> None:
        """Take in the weights after a step; can be an optimiser's hook."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._trained().items():
            self.shadow[name].lerp_(parameter.detach(), 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._trained().items():
            kept = parameter.detach().clone()
            parameter.copy_(self.shadow[name])
            self.shadow[name].copy_(kept)

    def averaged(self, state: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """A model's state dict with the averages in place of the weights."""
        return {name: self.shadow.get(name, value) for name, value in state.items()}

    def state_dict(self) -> Dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from a saved average.

        Raises:
            ValueError: it is of other parameters.
        """
        trained = self._trained()
        other = sorted(set(state["shadow"]) ^ set(trained))
        if other:
            raise ValueError(
                f"the saved average is of other weights: {len(other)} differ, first {other[0]}; "
                "train in another folder, or with the settings that this one was begun with"
            )
        self.updates = state["updates"]
        self.shadow = {name: v.to(trained[name].device) for name, v in state["shadow"].items()}
