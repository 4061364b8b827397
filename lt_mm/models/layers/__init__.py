"""Building blocks shared by heads of both tasks."""

from .class_counts_buffer import ClassCountsBuffer
from .class_queue import ClassQueue
from .cosine import CosineConv2d, CosineLinear
from .projection_mlp import ProjectionMLP

__all__ = ['ClassCountsBuffer', 'ClassQueue', 'CosineConv2d', 'CosineLinear', 'ProjectionMLP']
