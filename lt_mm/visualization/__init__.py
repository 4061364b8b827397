"""Pictures of data and results, drawn with matplotlib's objects alone: no window, no state."""

from lt_mm.visualization.class_counts import draw_class_counts
from lt_mm.visualization.per_class import plot_accuracy_against_frequency
from lt_mm.visualization.predictions import plot_predictions
from lt_mm.visualization.reliability import plot_reliability, read_calibration

__all__ = [
    'draw_class_counts',
    'plot_accuracy_against_frequency',
    'plot_predictions',
    'plot_reliability',
    'read_calibration',
]
