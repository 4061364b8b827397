"""The Gaussian-mixture-likelihood loss with texts of each class as the centres."""

import os
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lt_mm.functional import (
    check_labels,
    check_number,
    check_temperature,
    class_log_likelihood,
    logit_adjusted_cross_entropy,
    reduce_loss,
)
from lt_mm.models.alpha import LogitAdjusted
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.layers import ProjectionMLP
from lt_mm.models.losses.contrast_loss import (
    ContrastBatch,
    ContrastLoss,
    check_rows,
    refuse_unknown,
)
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts, TextFeatures


@MODELS.register_module()
class TextGMLLoss(LogitAdjusted, ContrastLoss):
    """L_GML with a mixture centred on features of texts: no queue, every class always has keys.

    The features come from a file and stay as they are, in the file's dtype; the key MLP embeds
    all of them anew at every step. They are no part of the checkpoint: the file is needed wherever
    the model is built. The mean is over the images of all ranks.

    Args:
        num_classes: C.
        in_channels: width of the query features.
        text_features: path of a file that :class:`lt_mm.structures.TextFeatures` reads, as
            ``tools/dataset_converters/text_features.py`` makes it. Its classes are in the order
            of the data set's labels.
        mixture_temperature: tau_g of eq. 3.
        alpha: strength of the logit adjustment, alpha of eq. 11. Defaults to that of the head,
            else 1.
        widths: layers of the query and of the key MLP after their input.
        loss_weight: factor of L_GML (beta in Table A.1).
        backend: of :func:`lt_mm.functional.class_log_likelihood`.
        unknown: none; ``temperature`` of earlier versions is told its name.

    Raises:
        TypeError: for such an argument.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not one of text features, is for another number of classes or
            holds NaN, if the temperature is not positive and finite, or alpha is not finite.

    Source: Suh and Seo, ICML 2023, section 3.4, "Visual-Linguistic Representation Learning".
    """

    pairwise = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        text_features: str | os.PathLike,
        mixture_temperature: float = 0.07,
        alpha: float | None = None,
        widths: Sequence[int] = (2048, 1024),
        loss_weight: float = 1.0,
        backend: str = 'auto',
        **unknown: Any,
    ) -> None:
        super().__init__()
        refuse_unknown(TextGMLLoss, unknown)
        check_temperature(
            mixture_temperature, 'of the mixture of TextGMLLoss', 'the usual range is 0.03 to 0.3'
        )
        texts = TextFeatures.load(text_features)
        if len(texts.lengths) != num_classes:
            raise ValueError(
                f"text features '{text_features}' are for {len(texts.lengths)} classes, but "
                f'TextGMLLoss has num_classes={num_classes}; make them from the class names of the '
                'data set that is trained on.'
            )
        self.num_classes = num_classes
        self.temperature = mixture_temperature
        self.set_alpha(alpha)
        self.loss_weight = check_number('loss_weight', loss_weight, 'TextGMLLoss', '1 is usual')
        self.backend = backend
        self.query_mlp = ProjectionMLP(in_channels, widths)
        self.key_mlp = ProjectionMLP(texts.features.shape[1], widths)
        self.register_buffer('texts', texts.features, persistent=False)
        # On the host, where checking them does not make it wait.
        self.lengths = texts.lengths
        self.class_counts = ClassCountsBuffer('TextGMLLoss', num_classes)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior from these counts."""
        self.class_counts.set(class_counts)

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """The loss of the student's views; keys of images are not used."""
        features = batch.queries.flatten(0, 1)
        return self(features, batch.labels.repeat(len(batch.queries)))

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Mean loss of the queries; 0, with a graph, when there is none.

        Args:
            features: (N, in_channels) of the student.
            labels: (N,) class indices.

        Returns:
            ``loss_gml``.

        Raises:
            RuntimeError: if no class counts have been given.
            ValueError: if there is not one label for each row, or a label is not a class.
        """
        check_rows(features, labels, 'TextGMLLoss')
        check_labels(labels, self.num_classes, 'TextGMLLoss', ignore_index=None)
        log_likelihood = class_log_likelihood(
            self.query_mlp(features),
            self.key_mlp(self.texts),
            self.lengths,
            self.temperature,
            backend=self.backend,
            # Rows have norm 1, but for rounding.
            largest=(1 + 1e-6) / self.temperature,
        )
        loss = logit_adjusted_cross_entropy(
            log_likelihood, labels, self.class_counts.require_log_prior(), self.alpha
        )
        count = mean_over_ranks(len(labels), loss.device)
        return dict(loss_gml=self.loss_weight * reduce_loss(loss, avg_factor=count))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'texts={len(self.texts)}, temperature={self.temperature}, alpha={self.alpha}, '
            f'loss_weight={self.loss_weight}'
        )
