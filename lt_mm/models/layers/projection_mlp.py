"""The embedding in which likelihoods are compared."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lt_mm.functional.checks import check_whole


class ProjectionMLP(nn.Module):
    """Linear layers with ReLU between them, then L2 normalisation: z of eq. 8.

    A batch normalisation before each ReLU keeps fresh embeddings apart: without it most of a hidden
    layer is what all rows have in common. A single row, of which there are no batch statistics,
    and none are normalised by the running ones.

    Args:
        in_channels: width of the features.
        widths: output width of each layer; the paper's notation (512, 512, 256) names the input
            first, so that is ``in_channels=512, widths=(512, 256)``.
        norm: norm_cfg of mmcv for a normalisation of rows before each ReLU, ``dict(type='BN1d')``,
            whose statistics ``sync_bn`` of the runner shares between processes, or
            ``dict(type='SyncBN')``. Defaults to None, no normalisation.

    Shape:
        (N, in_channels) to (N, widths[-1]), rows of norm 1.

    Raises:
        ValueError: if there is no layer, or ``norm`` is not for rows or has no place.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int] = (512, 256), norm: dict | None = None
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError('widths is empty, but a ProjectionMLP needs at least one layer.')
        for width in widths:
            check_whole('a width', width, 'ProjectionMLP', 'give widths such as (512, 256)')
        if norm is not None and len(widths) == 1:
            raise ValueError(
                f'norm of a ProjectionMLP is {norm}, but stands between layers and widths is '
                f'{tuple(widths)}; give two widths, or leave norm out.'
            )
        layers: list[nn.Module] = []
        for width in widths[:-1]:
            layers.append(nn.Linear(in_channels, width))
            if norm is not None:
                layers.append(_norm_of_rows(norm, width))
            layers.append(nn.ReLU(inplace=True))
            in_channels = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_channels, widths[-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings of norm 1, normalised in float32 or wider also under autocast.

        Features of another precision, such as queued ones, are converted to the weights'.
        """
        rows = features.to(self.layers[0].weight.dtype)
        for layer in self.layers:
            # Synchronised, it asks other ranks, which may have more rows.
            alone = isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm)
            if alone and len(rows) < 2:
                statistics = layer.running_mean, layer.running_var
                rows = F.batch_norm(rows, *statistics, layer.weight, layer.bias, eps=layer.eps)
            else:
                rows = layer(rows)
        return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)


def _norm_of_rows(norm: dict, width: int) -> nn.Module:
    try:
        layer = build_norm_layer(norm, width)[1]
        layer.eval()(torch.zeros(2, width))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f'norm of a ProjectionMLP is {norm!r}, which does not normalise rows; use '
            "dict(type='BN1d'), or dict(type='SyncBN') in several processes."
        ) from error
    return layer.train()
