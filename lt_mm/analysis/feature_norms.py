"""Norms of the features that the last layer of any model of mmseg or mmpretrain sees."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FeatureNorms:
    """Norms of the features that the classifier sees, in the resolution of the input.

    Hooks stay on the model as long as it lives. Of a segmentor that looks at windows one after the
    other (``test_cfg.mode='slide'``), norms of overlapping windows are averaged, as its logits are.

    Args:
        model: of either package, with a ``data_preprocessor``; not wrapped.
        layer: its classifier.
    """

    def __init__(self, model: nn.Module, layer: nn.Module) -> None:
        self.test_cfg = getattr(model, 'test_cfg', None) or {}
        self._size: tuple[int, ...] = ()
        self._norms: list[Tensor] = []
        model.data_preprocessor.register_forward_hook(self._begin)
        layer.register_forward_pre_hook(self._see)

    def of_batch(self) -> Tensor | None:
        """Norms of the batch that the model has seen last.

        Returns:
            Of a classifier (N,), of a segmentor (N, H, W), where H and W are those of the padded
            input. None if the classifier was not run once for each image or window.
        """
        norms = self._norms
        if not norms or len({n.ndim for n in norms}) > 1:
            return None
        if norms[0].ndim == 1:
            return norms[0] if len(norms) == 1 else None
        windows = self._windows()
        if norms[0].ndim != 3 or len(norms) != len(windows):
            return None
        total = norms[0].new_zeros(len(norms[0]), *self._size)
        seen = total.new_zeros(self._size)
        for norm, (top, bottom, left, right) in zip(norms, windows, strict=True):
            size = (bottom - top, right - left)
            resized = F.interpolate(norm[:, None], size, mode='bilinear')[:, 0]
            total[:, top:bottom, left:right] += resized
            seen[top:bottom, left:right] += 1
        return total / seen

    def _begin(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._norms = []
        inputs = output.get('inputs') if isinstance(output, dict) else None
        self._size = tuple(inputs.shape[-2:]) if isinstance(inputs, Tensor) else ()

    def _see(self, layer: nn.Module, args: tuple) -> None:
        if args and isinstance(args[0], Tensor) and args[0].ndim >= 2:
            self._norms.append(torch.linalg.vector_norm(args[0].float(), dim=1))

    def _windows(self) -> list[tuple[int, int, int, int]]:
        """Top, bottom, left and right of what the segmentor looks at, in its order."""
        if len(self._size) != 2:
            return []
        height, width = self._size
        if self.test_cfg.get('mode', 'whole') != 'slide':
            return [(0, height, 0, width)]
        spans = []
        for length, crop, stride in zip(
            self._size, self.test_cfg['crop_size'], self.test_cfg['stride'], strict=True
        ):
            number = max(length - crop + stride - 1, 0) // stride + 1
            ends = [min(i * stride + crop, length) for i in range(number)]
            spans.append([(max(end - crop, 0), end) for end in ends])
        return [(*rows, *columns) for rows in spans[0] for columns in spans[1]]
