"""The embedding in which likelihoods are compared."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionMLP(nn.Module):
    """Linear layers with ReLU between them, then L2 normalisation: z of eq. 8.

    Args:
        in_channels: width of the features.
        widths: output width of each layer; the paper's notation (512, 512, 256) names the input
            first, so that is ``in_channels=512, widths=(512, 256)``.

    Shape:
        (N, in_channels) to (N, widths[-1]), rows of norm 1.

    Raises:
        ValueError: if there is no layer.
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = (512, 256)) -> None:
        super().__init__()
        if not widths:
            raise ValueError('widths is empty, but a ProjectionMLP needs at least one layer.')
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(in_channels, width), nn.ReLU(inplace=True)]
            in_channels = width
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings of norm 1, normalised in float32 or wider also under autocast.

        Features of another precision, such as queued ones, are converted to the weights'.
        """
        rows = self.layers(features.to(self.layers[0].weight.dtype))
        return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
