"""Classifiers for methods that need several views, several stages or more than one network."""

from .decoupled_classifier import DecoupledClassifier
from .distilled_classifier import DistilledClassifier
from .gml_classifier import GMLClassifier
from .routed_classifier import RoutedClassifier

__all__ = ['DecoupledClassifier', 'DistilledClassifier', 'GMLClassifier', 'RoutedClassifier']
