"""Values that travel between data sets, hooks, modules and metrics."""

from .class_counts import ClassCounts
from .class_groups import ClassGroups
from .sample_ids import sample_ids
from .text_features import TextFeatures

__all__ = [
    'ClassCounts',
    'ClassGroups',
    'TextFeatures',
    'sample_ids',
]
