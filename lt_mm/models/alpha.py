"""One strength of logit adjustment for the losses of a model."""

from collections.abc import Iterator

from torch import nn

from lt_mm.functional import check_number


class LogitAdjusted:
    """A loss with the strength ``alpha`` of a logit adjustment, in ``class X(LogitAdjusted, ...)``.

    What is left open follows the head (``alpha`` of :class:`~lt_mm.models.heads.LongTailHead`) or,
    where a head leaves it open too, is 1.
    """

    _alpha: float | None = None

    @property
    def alpha(self) -> float:
        """Strength of the adjustment; 0 adjusts nothing."""
        return 1.0 if self._alpha is None else self._alpha

    def set_alpha(self, alpha: float | None) -> None:
        """Take the strength that a config gives; None leaves it open.

        Raises:
            ValueError: if it is not finite.
        """
        if alpha is not None:
            check_number('alpha', alpha, type(self).__name__, 'use 0 to 1')
        self._alpha = alpha

    def inherit_alpha(self, alpha: float) -> None:
        """Follow a head, unless the config of the loss says otherwise."""
        if self._alpha is None:
            self.set_alpha(alpha)


def hand_alpha(model: nn.Module, alpha: float | None) -> None:
    """Let every logit-adjusted loss in a module follow ``alpha``, where its own is left open.

    Args:
        model: a head or a network.
        alpha: strength; None leaves all as they are.
    """
    if alpha is None:
        return
    for part in model.modules():
        if isinstance(part, LogitAdjusted):
            part.inherit_alpha(alpha)


def model_alpha(model: nn.Module) -> float | None:
    """The strength that the head a model predicts with was given; None where none was.

    Of a network that is its ``decode_head``, the last of a cascade, or its ``head``: what an
    auxiliary head or an earlier one was given is its own. So is what one of several experts was
    given; what all of them were is that of their head.
    """
    return next((alpha for alpha in _alphas_of_heads(model) if alpha is not None), None)


def _alphas_of_heads(module: nn.Module) -> Iterator[float | None]:
    if hasattr(module, 'model_alpha'):
        yield module.model_alpha
        return
    heads = (getattr(module, name, None) for name in ('decode_head', 'head'))
    main = next((head for head in heads if isinstance(head, nn.Module)), None)
    if main is not None:
        yield from _alphas_of_heads(main[-1] if isinstance(main, nn.ModuleList) else main)
    else:
        for child in module.children():
            yield from _alphas_of_heads(child)
