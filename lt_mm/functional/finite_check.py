"""Features that cannot be learnt from."""

from torch import Tensor


def check_finite(
    features: Tensor, owner: str, name: str, harm: str = 'the queue would be poisoned'
) -> None:
    """Refuse features that are NaN or infinite, before a memory keeps them.

    Args:
        features: of any shape.
        owner: what the error message calls the module that the features reached.
        name: what it calls the features.
        harm: what it says would happen.

    Raises:
        FloatingPointError: if one is not finite.
    """
    if not features.detach().isfinite().all():
        raise FloatingPointError(
            f'{owner}: {name} are not finite, so {harm}; lower the learning rate, clip gradients, '
            'or look for damaged inputs or weights.'
        )
