"""Networks that learn from a second one, from several views, or of which only a part is trained."""

from importlib.util import find_spec

from .segmentation import LongTailCascadeEncoderDecoder, LongTailEncoderDecoder

__all__ = ['LongTailCascadeEncoderDecoder', 'LongTailEncoderDecoder']

if find_spec('mmpretrain') is not None:
    from .classification import LongTailClassifier

    __all__ += ['LongTailClassifier']
