"""What the losses of a classifier's logits have in common, for both tasks."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from lt_mm.functional import check_labels, reduce_loss
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.losses.class_weights import ClassWeights
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.structures import ClassCounts


class LogitLoss(nn.Module, metaclass=ABCMeta):
    """A loss that is a sum over elements (images or pixels) of a function of their logits.

    Called as mmsegmentation calls a loss (``weight=``, ``ignore_index=``) and as mmpretrain does
    (``avg_factor=``, hard or soft targets). The mean is over the elements of all ranks that are not
    ignored. A subclass has :meth:`element_loss` to write.

    Args:
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none'.
        loss_name: key of the loss in mmsegmentation's log.
        class_weight: weights of the classes, see :class:`ClassWeights`; None weighs them alike. A
            soft target has the loss of each class, with its weight, by its share.
        average: what a mean of losses with class weights divides by: 'elements', their number, or
            'weights', the sum of their class weights, as torch's own cross-entropy does. A given
            ``avg_factor`` is taken for the number of elements.

    Raises:
        ValueError: if ``class_weight`` or ``average`` is not one of these; when called with a label
            that is neither a class nor to be ignored, soft targets of another shape than the
            logits, or logits of another number of classes than the class weights.
        RuntimeError: when called without class counts where they are needed.

    Attributes:
        ignore_index: label of elements that take no part where a call names none: some heads of
            mmsegmentation (DDRHead, PIDHead) name none. A LongTailHead sets its own here.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: str = 'loss_cls',
        class_weight: Mapping | Sequence[float] | None = None,
        average: str = 'elements',
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if average not in ('elements', 'weights'):
            raise ValueError(f"average of {name} is {average!r}; use 'elements' or 'weights'.")
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.loss_name = loss_name
        self.ignore_index = -100
        self.average = average
        self.class_counts = ClassCountsBuffer(name)
        self.class_weights = None if class_weight is None else ClassWeights(class_weight, name)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take prior, class weights, margins and the like from these counts."""
        if self.class_counts.set(class_counts) and self.class_weights is not None:
            self.class_weights.warn_if_alike(class_counts.counts)

    @abstractmethod
    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Loss of each element, without class weights.

        Args:
            logits: (N, C, ...).
            target: (N, ...) integers, checked, or (N, C, ...) soft targets, in which the result has
                to be linear; they do not sum to 1 where class weights were multiplied in.
            ignore_index: label of elements whose loss is 0.

        Returns:
            (N, ...), float32 or wider.
        """

    def observe(self, logits: Tensor, target: Tensor, ignore_index: int) -> None:
        """See the checked targets of a batch before class weights are put on them.

        A loss that keeps account of labels overrides this.

        Args:
            logits: (N, C, ...).
            target: (N, ...) integers or (N, C, ...) soft targets.
            ignore_index: label of elements that take no part.
        """

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Loss of (N, C, ...) logits against (N, ...) labels or (N, C, ...) soft targets.

        Args:
            logits: any floating dtype.
            target: integers, or soft targets.
            weight: (N, ...) factors of the elements.
            avg_factor: divisor of a mean. Defaults to the number of elements of all ranks that are
                not ignored, averaged over ranks.
            reduction_override: in place of ``reduction``.
            ignore_index: label of elements that take no part; hard targets only. Defaults to the
                attribute.
        """
        if ignore_index is None:
            ignore_index = self.ignore_index
        soft = target.is_floating_point()
        self.check_target(logits, target, ignore_index)
        self.observe(logits, target, ignore_index)
        class_weight = self._class_weight(logits.shape[1])
        if class_weight is not None and soft:
            target = target * class_weight.reshape((-1,) + (1,) * (logits.ndim - 2))
            class_weight = target.sum(1)
        loss = self.element_loss(logits, target, ignore_index)
        if class_weight is not None and not soft:
            ignored = target == ignore_index
            class_weight = class_weight[target.long().masked_fill(ignored, 0)]
            class_weight = class_weight.masked_fill(ignored, 0)
            loss = loss * class_weight
        reduction = reduction_override or self.reduction
        if reduction == 'mean':
            counted = loss.numel() if soft else (target != ignore_index).sum()
            if avg_factor is None:
                avg_factor = mean_over_ranks(counted, loss.device)
            if class_weight is not None and self.average == 'weights':
                counted = mean_over_ranks(counted, loss.device)
                total = mean_over_ranks(class_weight.sum(), loss.device)
                avg_factor = avg_factor * total / counted.masked_fill(counted == 0, 1)
        return self.loss_weight * reduce_loss(loss, weight, reduction, avg_factor)

    def check_target(self, logits: Tensor, target: Tensor, ignore_index: int) -> None:
        """Refuse targets that do not fit the logits.

        Raises:
            ValueError: for a label that is neither a class nor ``ignore_index``, or soft targets of
                another shape than the logits.
        """
        name = type(self).__name__
        if not target.is_floating_point():
            check_labels(target, logits.shape[1], name, ignore_index)
        elif target.shape != logits.shape:
            raise ValueError(
                f'soft targets of shape {tuple(target.shape)} reached {name}, but the logits have '
                f'{tuple(logits.shape)}; give one number for each logit, or integer labels.'
            )

    def _class_weight(self, num_classes: int) -> Tensor | None:
        if self.class_weights is None:
            return None
        class_weight = self.class_weights(self.class_counts)
        if len(class_weight) != num_classes:
            raise ValueError(
                f'{type(self).__name__} has weights of {len(class_weight)} classes, but the logits '
                f'have {num_classes}; give class_weight, or the class counts, of the data set that '
                'is trained on.'
            )
        return class_weight
