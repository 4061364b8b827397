"""Linear classifiers whose weight norms are evened out at test time."""

from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.functional.checks import check_number
from lt_mm.functional.weight_norm import tau_normalize
from lt_mm.registry import MODELS


@MODELS.register_module()
class TauNormLinear(nn.Linear):
    """A linear layer in training; in eval mode its weights are tau-normalised.

    It has the weights of an ``nn.Linear`` and loads those of any checkpoint with one.

    Args:
        in_channels: D, width of the features.
        num_classes: C.
        tau: 0 leaves the weights as they are, 1 gives all classes the same norm. To be chosen on
            a split that the results are not of; 0.5 to 1 is usual.
        keep_bias: whether the bias is used in eval mode; the public code drops it.

    Raises:
        ValueError: if tau is not finite, or negative.

    Source: Kang et al., ICLR 2020 (tau-normalised classifier).
    """

    def __init__(
        self, in_channels: int, num_classes: int, tau: float = 1.0, keep_bias: bool = False
    ) -> None:
        super().__init__(in_channels, num_classes)
        self.tau = _checked(tau, 'TauNormLinear')
        self.keep_bias = keep_bias

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N, C)."""
        if self.training:
            return super().forward(features)
        bias = self.bias if self.keep_bias else None
        return F.linear(features, tau_normalize(self.weight, self.tau), bias)

    def extra_repr(self) -> str:
        """Sizes and settings."""
        return f'{super().extra_repr()}, tau={self.tau}, keep_bias={self.keep_bias}'


@MODELS.register_module()
class TauNormConv2d(nn.Conv2d):
    """:class:`TauNormLinear` at every pixel: (N, D, H, W) to (N, C, H, W).

    Args:
        in_channels: D.
        num_classes: C.
        tau: as there.
        keep_bias: as there.

    Raises:
        ValueError: if tau is not finite, or negative.
    """

    def __init__(
        self, in_channels: int, num_classes: int, tau: float = 1.0, keep_bias: bool = False
    ) -> None:
        super().__init__(in_channels, num_classes, kernel_size=1)
        self.tau = _checked(tau, 'TauNormConv2d')
        self.keep_bias = keep_bias

    def forward(self, features: Tensor) -> Tensor:
        """(N, D, H, W) to (N, C, H, W)."""
        if self.training:
            return super().forward(features)
        bias = self.bias if self.keep_bias else None
        return F.conv2d(features, tau_normalize(self.weight, self.tau), bias)

    def extra_repr(self) -> str:
        """Sizes and settings."""
        return f'{super().extra_repr()}, tau={self.tau}, keep_bias={self.keep_bias}'


def _checked(tau: float, owner: str) -> float:
    check_number('tau', tau, owner, '0.5 to 1 is usual')
    if tau < 0:
        raise ValueError(f'tau of {owner} is {tau}, but it must be 0 or more; 0.5 to 1 is usual.')
    return tau
