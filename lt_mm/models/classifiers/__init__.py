"""Classifiers for methods that need several views, several stages or more than one network."""

from .decoupled_classifier import DecoupledClassifier
from .gml_classifier import GMLClassifier

__all__ = ['DecoupledClassifier', 'GMLClassifier']
