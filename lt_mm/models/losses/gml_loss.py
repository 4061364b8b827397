"""The Gaussian-mixture-likelihood loss with its queue and its two embeddings."""

from collections.abc import Sequence

from torch import Tensor, nn

from lt_mm.functional import class_log_likelihood, logit_adjusted_cross_entropy, reduce_loss
from lt_mm.models.layers import ClassCountsBuffer, ClassQueue, ProjectionMLP
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class GMLLoss(nn.Module):
    """L_GML: cross-entropy on class log-likelihoods under mixtures centred on queued features.

    The queue holds raw key features; they are embedded anew at every step, so the key MLP
    learns and nothing in the queue grows stale when a frozen teacher made it. The loss serves
    pixels and images alike: it takes rows.

    Args:
        num_classes: C.
        in_channels: width of the query features.
        key_channels: width of the key features. Defaults to ``in_channels``.
        size: k, slots of the queue.
        min_size: k_m, slots of the rarest class.
        temperature: tau_g of eq. 3.
        alpha: strength of the logit adjustment, alpha of eq. 11.
        widths: layers of the query and of the key MLP after their input.
        loss_weight: factor of the result (beta in Table A.1).

    Source: Suh and Seo, ICML 2023, eqs. 3, 5, 8 and 11.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        key_channels: int | None = None,
        size: int = 8192,
        min_size: int = 27,
        temperature: float = 0.07,
        alpha: float = 1.0,
        widths: Sequence[int] = (512, 256),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        key_channels = in_channels if key_channels is None else key_channels
        self.temperature = temperature
        self.alpha = alpha
        self.loss_weight = loss_weight
        self.query_mlp = ProjectionMLP(in_channels, widths)
        self.key_mlp = ProjectionMLP(key_channels, widths)
        self.queue = ClassQueue(num_classes, key_channels, size, min_size)
        self.class_counts = ClassCountsBuffer('GMLLoss', num_classes)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior and the queue lengths from these counts."""
        self.class_counts.set(class_counts)
        self.queue.set_class_counts(class_counts)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of the queries whose class has a key; 0, with a graph, when none has.

        Args:
            features: (N, in_channels) of the student.
            labels: (N,) class indices, none ignored.
        """
        log_prior = self.class_counts.require_log_prior()
        keys = self.queue.keys()
        has_key = keys.lengths[labels] > 0
        log_likelihood = class_log_likelihood(
            self.query_mlp(features[has_key]),
            self.key_mlp(keys.features),
            keys.lengths,
            self.temperature,
        )
        loss = logit_adjusted_cross_entropy(log_likelihood, labels[has_key], log_prior, self.alpha)
        return self.loss_weight * reduce_loss(loss)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'temperature={self.temperature}, alpha={self.alpha}, loss_weight={self.loss_weight}'
