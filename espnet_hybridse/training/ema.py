"""An exponential moving average of the weights, which validation and inference then use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """`average <- d * average + (1 - d) * weights` after every optimiser step.

    With `share` the average's horizon is that share of the steps taken so far,
    d = 1 - 1 / (1 + share * n) at step n (the power function averages of Karras et al. 2024): it
    fits a training of a thousand steps as one of a million. With `decay` alone the horizon is
    1 / (1 - decay) steps, but d is `(1 + n) / (10 + n)` while that is smaller, so that the random
    start is forgotten (as in TensorFlow's ExponentialMovingAverage). With both, `decay` bounds d.

    Parameters that are not trained are not kept twice. Buffers are those of the model.

    Args:
        model: whose parameters are averaged; not a wrapper of it.
        decay: d, or its bound.
        share: of the steps so far.

    Raises:
        ValueError: a value outside 0 to 1, or neither is given.
    """

    def __init__(self, model: nn.Module, decay: float | None = None, share: float | None = None):
        for name, value in (("ema_decay", decay), ("ema_share", share)):
            if value is not None and not 0.0 < value < 1.0:
                raise ValueError(
                    f"{name}={value}: expected a number between 0 and 1, such as "
                    f"{'0.999' if name == 'ema_decay' else '0.05'}; null is off"
                )
        if decay is None and share is None:
            raise ValueError("an average needs ema_decay or ema_share; both are null")
        self.model, self.decay, self.share, self.updates = model, decay, share, 0
        self.shadow: dict[str, torch.Tensor] | None = None

    def _trained(self) -> dict[str, nn.Parameter]:
        # A parameter with two names stands twice in a state dict.
        named = self.model.named_parameters(remove_duplicate=False)
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def start(self) -> None:
        """Begin with the weights as they are, unless a state has been loaded."""
        if self.shadow is None:
            self.shadow = {name: p.detach().clone() for name, p in self._trained().items()}

    def rate(self) -> float:
        """1 - d of the next update."""
        step = self.updates + 1
        ramp = (1 + step) / (10 + step) if self.share is None else 1 - 1 / (1 + self.share * step)
        return 1.0 - min(1.0 if self.decay is None else self.decay, ramp)

    @torch.no_grad()
    def update(self, *_: Any) -> None:
        """Take in the weights after a step; can be an optimiser's hook."""
        trained = self._trained()
        # One call for all parameters: a call each would keep a GPU waiting for Python.
        torch._foreach_lerp_(
            [self.shadow[name] for name in trained], list(trained.values()), self.rate()
        )
        self.updates += 1

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

    def averaged(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A model's state dict with the averages in place of the weights."""
        return {name: self.shadow.get(name, value) for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
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
