"""Refuse temperatures that would silently become infinities or NaN."""

import math


def check_temperature(temperature: float, owner: str, usual: str) -> None:
    """Raise if a temperature is not positive and finite.

    Args:
        temperature: of a softmax or a mixture.
        owner: whose it is, as in 'of GMLLoss'.
        usual: what the message recommends, such as '1 is usual'.

    Raises:
        ValueError: if it is not.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature {owner} is {temperature}, but it must be positive and finite; {usual}.'
        )
