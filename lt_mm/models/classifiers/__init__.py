"""Classifiers for methods that need several views or more than one network."""

from .gml_classifier import GMLClassifier

__all__ = ['GMLClassifier']
