"""Values that travel between data sets, hooks, modules and metrics."""

from .class_counts import ClassCounts

__all__ = ['ClassCounts']
