"""DisAlign: a class-wise affine map of the logits, weighted by a learnt confidence."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.functional.alignment import FORMS, align_logits
from lt_mm.registry import MODELS


@MODELS.register_module()
class DisAlign(BaseModule):
    """Align the logits of a frozen classifier, see :func:`lt_mm.functional.align_logits`.

    The confidence of a sample, or pixel, is the sigmoid of a linear layer on its features.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        form: 'paper' or 'code'. Of the two, only the first begins with the logits as they are.
        normalize: whether the confidence sees unit vectors, as is published for cosine
            classifiers.
        init_cfg: mmengine's argument.

    Raises:
        ValueError: for another form.

    Source: Zhang et al., CVPR 2021; the first weights are those of the public code.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        form: str = 'paper',
        normalize: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if form not in FORMS:
            raise ValueError(f"form of DisAlign is {form!r}; use 'paper' or 'code'.")
        self.form = form
        self.normalize = normalize
        self.scale = nn.Parameter(torch.empty(num_classes))
        self.shift = nn.Parameter(torch.empty(num_classes))
        self.confidence = nn.Linear(in_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Scale 1, shift 0, and all features of equal weight in the confidence."""
        nn.init.ones_(self.scale)
        nn.init.zeros_(self.shift)
        nn.init.constant_(self.confidence.weight, 0.1)
        nn.init.zeros_(self.confidence.bias)

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Align (N, C, ...) logits of (N, D, ...) features."""
        if self.normalize:
            features = F.normalize(features, dim=1)
        confidence = self.confidence(features.movedim(1, -1)).movedim(-1, 1).sigmoid()
        return align_logits(logits, confidence, self.scale, self.shift, self.form)

    def extra_repr(self) -> str:
        """Form and kind of features."""
        return f'form={self.form!r}, normalize={self.normalize}'
