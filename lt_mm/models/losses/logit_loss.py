"""What the losses of a classifier's logits have in common, for both tasks."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lt_mm.functional import (
    check_labels,
    check_number,
    check_reduction,
    check_shapes,
    check_soft_targets,
    reduce_loss,
)
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.losses.class_weights import ClassWeights
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import did_you_mean
from lt_mm.structures import ClassCounts

# What is wrong with a softmax over a single class.
_SINGLE = (
    'over which the softmax is always 1, so that nothing would be learnt; set num_classes=2 and '
    'out_channels=2, with the background as a class, or use FocalLoss or WeightedCrossEntropyLoss '
    'with use_sigmoid=True.'
)


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
        unknown: none; where a config inherits another loss, its arguments may be left over.

    Raises:
        TypeError: for such an argument.
        ValueError: if an argument is not one of these, or no finite number; when called with a
            label that is neither a class nor to be ignored, targets or weights of another shape
            than the elements have, soft targets that are no probabilities, logits of another number
            of classes than the class weights, or a softmax over a single logit.
        RuntimeError: when called without class counts where they are needed.

    Attributes:
        use_sigmoid: whether each class has a classifier of its own, so that an element may have
            several labels, and a single logit that of label 1 against label 0.
        ignore_index: label of elements that take no part where a call names none: some heads of
            mmsegmentation (DDRHead, PIDHead) name none. A LongTailHead sets its own here.
    """

    use_sigmoid: bool = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: str = 'loss_cls',
        class_weight: Mapping | Sequence[float] | None = None,
        average: str = 'elements',
        **unknown: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if unknown:
            given = [f'{key!r}{did_you_mean(key, type(self))}' for key in unknown]
            raise TypeError(
                f'{name} has no argument {" and no argument ".join(given)}; leave it out or, if it '
                'comes from a config that this one inherits, write _delete_=True beside the type '
                'of the loss.'
            )
        check_number('loss_weight', loss_weight, name, '1 is usual')
        check_reduction(reduction, name)
        if not isinstance(loss_name, str) or 'loss' not in loss_name:
            raise ValueError(
                f"loss_name of {name} is {loss_name!r}, but what has no 'loss' in its name is "
                "logged and not trained; use a name such as 'loss_cls'."
            )
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
        """Take prior, class weights, margins and the like from these counts.

        Raises:
            ValueError: if they are of one class, of which a softmax learns nothing.
        """
        if class_counts.num_classes == 1 and not self.use_sigmoid:
            raise ValueError(f'{type(self).__name__} has class counts of one class, {_SINGLE}')
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

    def multi_label_loss(
        self, logits: Tensor, target: Tensor, class_weight: Tensor | None
    ) -> Tensor:
        """Loss of each element that may have several labels; a loss with sigmoids overrides this.

        Args:
            logits: (N, C, ...).
            target: of the same shape, each between 0 and 1.
            class_weight: (C,), or (2,) where C is 1; None weighs all alike.

        Returns:
            (N, ...), float32 or wider.
        """
        raise NotImplementedError

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
        class_weight = self._class_weight(max(logits.shape[1], 2))
        if soft and self.use_sigmoid:
            loss = self.multi_label_loss(logits, target, class_weight)
        if class_weight is not None and soft:
            if logits.shape[1] == 1:
                target = torch.cat([1 - target, target], dim=1)
            target = target * class_weight.reshape((-1,) + (1,) * (logits.ndim - 2))
            class_weight = target.sum(1)
        if not (soft and self.use_sigmoid):
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
            ValueError: for a label that is neither a class nor ``ignore_index``, soft targets that
                are no probabilities, shapes that do not fit, or a softmax over a single logit.
        """
        name = type(self).__name__
        check_shapes(logits, target, name)
        num_classes = logits.shape[1]
        if num_classes == 1 and not self.use_sigmoid:
            raise ValueError(f'{name} has logits of one channel, {_SINGLE}')
        if target.is_floating_point():
            check_soft_targets(target, name, exclusive=not self.use_sigmoid)
        else:
            check_labels(target, max(num_classes, 2), name, ignore_index)

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
