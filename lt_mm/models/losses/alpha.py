"""One strength of logit adjustment for the losses of a head."""

import warnings

_LOGIT_ADJUSTED = ('LogitAdjustedLoss', 'lt_mm.LogitAdjustedLoss')


def with_alpha(loss: dict | list, alpha: float | None, argument: str) -> dict | list:
    """Configs of losses with ``alpha`` where a ``LogitAdjustedLoss`` leaves it open.

    Warns where alpha is not 0 and a loss is another one, on which it does not act.

    Args:
        loss: config of a loss, or several; not changed.
        alpha: strength of the adjustment; None leaves every loss to itself.
        argument: what the warning calls the config.
    """
    if isinstance(loss, (list, tuple)):
        return [with_alpha(one, alpha, argument) for one in loss]
    if alpha is None:
        return dict(loss)
    if loss['type'] in _LOGIT_ADJUSTED:
        return {'alpha': alpha, **loss}
    if alpha != 0:
        warnings.warn(
            f'alpha={alpha} does not act on the {argument} of type {loss["type"]!r}; use '
            "dict(type='lt_mm.LogitAdjustedLoss') there.",
            stacklevel=2,
        )
    return dict(loss)
