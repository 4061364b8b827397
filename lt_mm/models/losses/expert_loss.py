"""What the losses between experts have in common, for both tasks."""

from abc import ABCMeta, abstractmethod

from torch import Tensor, nn

from lt_mm.functional import check_number, reduce_loss
from lt_mm.models.ranks import mean_over_ranks


class ExpertLoss(nn.Module, metaclass=ABCMeta):
    """A loss of the logits of several experts for the same elements, images or pixels.

    It stands beside the experts' own losses and never changes them. The mean is over the elements
    of all ranks that are not ignored. A subclass has :meth:`terms` to write.

    Args:
        loss_weight: factor of every term. At 0 nothing is computed and nothing logged.

    Raises:
        ValueError: if ``loss_weight`` is not finite; when called with one expert, or a target that
            does not fit the logits.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = self.checked_weight('loss_weight', loss_weight)

    @abstractmethod
    def terms(
        self, logits: Tensor, target: Tensor, ignored: Tensor | None
    ) -> dict[str, tuple[float, Tensor]]:
        """Terms of the loss, without ``loss_weight``.

        Args:
            logits: (E, N, C, ...), of two experts or more.
            target: (N, ...) integers or (N, C, ...) soft targets.
            ignored: (N, ...), True where an integer target is the one to ignore; None for soft
                targets.

        Returns:
            Key in the log, which begins with 'loss_', to a factor and the (N, ...) elements. A
            term whose factor is 0 is to be left out.
        """

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        ignore_index: int = -100,
    ) -> dict[str, Tensor]:
        """Losses between experts.

        Args:
            logits: (E, N, C, ...), any floating dtype.
            target: (N, ...) integers or (N, C, ...) soft targets; of where elements are ignored,
                unless the loss needs to know more.
            weight: (N, ...) factors of the elements.
            avg_factor: divisor of the mean. Defaults to the number of elements of all ranks that
                are not ignored, averaged over ranks.
            ignore_index: label of elements that take no part; integer targets only.

        Returns:
            0-d tensors whose keys begin with 'loss_'; none where the factor is 0.
        """
        self._check(logits, target)
        if self.loss_weight == 0:
            return {}
        ignored = None if target.is_floating_point() else target == ignore_index
        terms = self.terms(logits, target, ignored)
        if avg_factor is None and terms:
            if ignored is None:
                counted = target.numel() // target.shape[1]
            else:
                counted = (~ignored).sum()
            avg_factor = mean_over_ranks(counted, logits.device)
        losses = {}
        for key, (factor, elements) in terms.items():
            if ignored is not None:
                elements = elements.masked_fill(ignored, 0)
            mean = reduce_loss(elements, weight, 'mean', avg_factor)
            losses[key] = self.loss_weight * factor * mean
        return losses

    def checked_weight(self, name: str, weight: float) -> float:
        """The factor of a term.

        Raises:
            ValueError: if it is not finite.
        """
        return check_number(name, weight, type(self).__name__, '0 leaves the term out')

    def _check(self, logits: Tensor, target: Tensor) -> None:
        name = type(self).__name__
        if logits.ndim < 3 or len(logits) < 2:
            raise ValueError(
                f'logits of shape {tuple(logits.shape)} reached {name}, but it needs '
                '(E, N, C, ...) of two experts or more; give another one, or leave interplay out.'
            )
        soft = target.is_floating_point()
        wanted = logits.shape[1:] if soft else logits.shape[1:2] + logits.shape[3:]
        if target.shape != wanted:
            raise ValueError(
                f'a target of shape {tuple(target.shape)} reached {name}, but logits of shape '
                f'{tuple(logits.shape)} need {tuple(wanted)}; give one label, or one number for '
                'each class, for every element.'
            )
