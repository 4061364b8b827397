"""Whether a teacher can serve a student."""

from mmengine.model import BaseDataPreprocessor


def check_feature_width(width: int, expected: int, argument: str) -> None:
    """Refuse a teacher whose features are no keys for the student's head.

    Args:
        width: channels of the teacher's features.
        expected: channels of the keys of the head.
        argument: what sets them in a config.

    Raises:
        ValueError: if they differ.
    """
    if width != expected:
        raise ValueError(
            f'the teacher gives features of {width} channels, but the keys of the '
            f'head have {expected}; set {argument}={width}.'
        )


def check_preprocessing(
    student: BaseDataPreprocessor, teacher: BaseDataPreprocessor | None
) -> None:
    """Refuse a teacher that was trained on otherwise normalised images.

    A student and a teacher that do not normalise images at all, or of which nothing is known,
    pass.

    Raises:
        ValueError: if mean, standard deviation or order of the channels differ.
    """
    ours, theirs = _normalisation(student), _normalisation(teacher)
    if ours is None or theirs is None:
        return
    for name, mine in ours.items():
        if mine != theirs[name]:
            raise ValueError(
                f'{name} of the data_preprocessor is {mine} for the student and {theirs[name]} '
                'for the teacher; they share the batch, so use the same.'
            )


def _normalisation(preprocessor: BaseDataPreprocessor | None) -> dict | None:
    """What is done to the values of an image; None where that is not known."""
    # mmengine and mmseg keep whether channels are swapped under no public name, mmpretrain's
    # ClsDataPreprocessor under another one.
    swaps = getattr(preprocessor, '_channel_conversion', getattr(preprocessor, 'to_rgb', None))
    if swaps is None:
        return None
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    return {
        'mean': None if mean is None else mean.flatten().tolist(),
        'std': None if std is None else std.flatten().tolist(),
        'swapping of red and blue': swaps,
    }
