"""Supervised contrastive loss on images."""

import warnings
from collections.abc import Sequence

from torch import Tensor

from lt_mm.functional import (
    check_labels,
    check_number,
    check_temperature,
    reduce_loss,
    supervised_contrastive_loss,
)
from lt_mm.models.layers import ProjectionMLP
from lt_mm.models.losses.contrast_loss import ContrastBatch, ContrastLoss
from lt_mm.models.ranks import gather_rows, mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class SupConLoss(ContrastLoss):
    """L_out of SupCon: all views of all images of all ranks, each compared with all others.

    The positives of a view are the other views of its image and the images of its class. Views
    without a positive, such as the only image of a class given as one view, do not count. The
    mean is over the views of all ranks. Keys of a teacher or of a momentum encoder are not used.

    Args:
        num_classes: C.
        in_channels: width of the query features.
        widths: layers of the MLP after its input, (2048, 128) on a ResNet-50 in the paper.
        temperature: tau.
        loss_weight: factor of the loss.

    Raises:
        ValueError: if the temperature is not positive and finite, or ``loss_weight`` not finite.

    Source: Khosla et al., NeurIPS 2020, eq. 2 and section 4.
    """

    num_query_views = 2

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] = (2048, 128),
        temperature: float = 0.1,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_temperature(temperature, 'of SupConLoss', 'the usual range is 0.05 to 0.3')
        self.num_classes = num_classes
        self.temperature = temperature
        self.loss_weight = check_number('loss_weight', loss_weight, 'SupConLoss', '1 is usual')
        self._told = False
        self.query_mlp = ProjectionMLP(in_channels, widths)

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """Mean loss of the views that have a positive; 0, with a graph, when none has.

        Returns:
            ``loss_supcon``.

        Raises:
            ValueError: if a label is not a class.
        """
        check_labels(batch.labels, self.num_classes, 'SupConLoss', ignore_index=None)
        if len(batch.queries) == 1 and not self._told:
            self._told = True
            warnings.warn(
                'SupConLoss sees one view of each image, so that an image alone of its class in a '
                'batch has nothing to be like and adds nothing; give several views by '
                "dict(type='MultiView', transforms=..., num_views=2) in the pipeline.",
                stacklevel=2,
            )
        labels = batch.labels.repeat(len(batch.queries))
        queries = self.query_mlp(batch.queries.flatten(0, 1))
        everything = gather_rows(queries, labels)
        loss, has_positive = supervised_contrastive_loss(
            queries,
            labels,
            everything.rows,
            everything.labels,
            self.temperature,
            self_indices=everything.own,
        )
        counted = mean_over_ranks(has_positive.sum(), loss.device)
        return dict(loss_supcon=self.loss_weight * reduce_loss(loss, avg_factor=counted))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'temperature={self.temperature}, loss_weight={self.loss_weight}'
