"""Values that travel between data sets, hooks, modules and metrics."""

from .class_counts import ClassCounts
from .sample_ids import sample_ids

__all__ = ['ClassCounts', 'sample_ids']
