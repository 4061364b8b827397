"""Networks for methods that need several views, several stages or more than one network."""

from importlib.util import find_spec

from .decoupled_encoder_decoder import DecoupledEncoderDecoder
from .teacher_encoder_decoder import TeacherEncoderDecoder

__all__ = ['DecoupledEncoderDecoder', 'TeacherEncoderDecoder']

if find_spec('mmpretrain') is not None:
    from .decoupled_classifier import DecoupledClassifier
    from .distilled_classifier import DistilledClassifier
    from .gml_classifier import GMLClassifier
    from .routed_classifier import RoutedClassifier

    __all__ += ['DecoupledClassifier', 'DistilledClassifier', 'GMLClassifier', 'RoutedClassifier']
