"""Several views of the images of one batch."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def check_views(inputs: Tensor | Sequence[Tensor], owner: str) -> list[Tensor]:
    """The views in a batch: a tensor is the only one.

    Args:
        inputs: (B, C, H, W), or one to three of these.
        owner: what the error message calls the model.

    Raises:
        ValueError: if there is another number of views, or one is not (B, C, H, W).
    """
    views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not 1 <= len(views) <= 3 or any(view.ndim != 4 for view in views):
        shapes = [tuple(view.shape) for view in views[:4]]
        raise ValueError(
            f'{owner} takes one to three views of shape (B, C, H, W), and got {len(views)}, '
            f'{shapes}...; behind the transform MultiView use the data_preprocessor '
            "SelfSupDataPreprocessor and collate_fn=dict(type='default_collate')."
        )
    return views


def forward_views(
    network: Callable[[Tensor], Sequence[Tensor]], views: Sequence[Tensor], wanted: Iterable[int]
) -> dict[int, tuple[Tensor, ...]]:
    """Outputs of a network for some views: each computed once, those of one shape together.

    Args:
        network: from (N, C, H, W) to tensors of N rows.
        views: each (B, C, H, W).
        wanted: indices into ``views``.

    Returns:
        From each index to the outputs for that view.
    """
    by_shape: dict[Any, list[int]] = defaultdict(list)
    for index in sorted(set(wanted)):
        by_shape[views[index].shape].append(index)
    results = {}
    for indices in by_shape.values():
        outputs = network(torch.cat([views[index] for index in indices]))
        parts = zip(*(output.chunk(len(indices)) for output in outputs), strict=True)
        results.update(zip(indices, parts, strict=True))
    return results
