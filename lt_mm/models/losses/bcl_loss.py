"""Balanced contrastive loss on images."""

from collections.abc import Sequence

from torch import Tensor

from lt_mm.functional import (
    balanced_contrastive_loss,
    check_labels,
    check_number,
    check_temperature,
    reduce_loss,
)
from lt_mm.models.layers import ProjectionMLP
from lt_mm.models.losses.contrast_loss import ContrastBatch, ContrastLoss
from lt_mm.models.ranks import gather_rows, mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class BCLLoss(ContrastLoss):
    """L_BCL: SupCon with averaged classes, and with one learnt prototype for every class.

    The prototypes are embeddings of the rows of the classifier's weight by an MLP of their own;
    gradients reach the classifier, too. Views of all ranks are compared with each other; the mean
    is over the views of all ranks. Keys of a teacher or of a momentum encoder are not used.

    The method trains the classifier with a logit-adjusted loss on another view beside this one.

    Args:
        num_classes: C.
        in_channels: width of the query features and of the classifier's weight.
        widths: layers of the query and of the prototype MLP after their input.
        temperature: tau.
        loss_weight: factor of the loss; 0.35 on ImageNet-LT in the authors' code.
        norm: norm_cfg of a normalisation in the MLPs, see :class:`ProjectionMLP`;
            ``dict(type='BN1d')`` in the authors' code. Without one, 1000 fresh prototypes have a
            mean cosine of 0.9 with each other, with it 0.3.

    Raises:
        ValueError: if the temperature is not positive and finite, or ``loss_weight`` not finite.

    Source: Zhu et al., CVPR 2022, section 3.
    """

    num_query_views = 2

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] = (2048, 1024),
        temperature: float = 0.1,
        loss_weight: float = 1.0,
        norm: dict | None = None,
    ) -> None:
        super().__init__()
        check_temperature(temperature, 'of BCLLoss', 'the usual range is 0.05 to 0.3')
        self.num_classes = num_classes
        self.temperature = temperature
        self.loss_weight = check_number('loss_weight', loss_weight, 'BCLLoss', '1 is usual')
        self.query_mlp = ProjectionMLP(in_channels, widths, norm)
        self.prototype_mlp = ProjectionMLP(in_channels, widths, norm)

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """Mean loss of the views; 0, with a graph, when there is none.

        Returns:
            ``loss_bcl``.

        Raises:
            ValueError: if a label is not a class, or the classifier has other classes.
        """
        check_labels(batch.labels, self.num_classes, 'BCLLoss', ignore_index=None)
        centres = batch.classifier.weight
        if len(centres) != self.num_classes:
            raise ValueError(
                f'the weight of the classifier has {len(centres)} rows but BCLLoss has '
                f'{self.num_classes} classes; set both to num_classes of the data set.'
            )
        labels = batch.labels.repeat(len(batch.queries))
        queries = self.query_mlp(batch.queries.flatten(0, 1))
        everything = gather_rows(queries, labels)
        loss, has_positive = balanced_contrastive_loss(
            queries,
            labels,
            everything.rows,
            everything.labels,
            self.temperature,
            prototypes=self.prototype_mlp(centres),
            self_indices=everything.own,
        )
        counted = mean_over_ranks(has_positive.sum(), loss.device)
        return dict(loss_bcl=self.loss_weight * reduce_loss(loss, avg_factor=counted))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'temperature={self.temperature}, loss_weight={self.loss_weight}'
