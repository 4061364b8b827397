"""Building blocks shared by heads of both tasks."""

from .class_counts_buffer import ClassCountsBuffer
from .class_queue import ClassQueue
from .cosine import CosineConv2d, CosineLinear
from .embedding_bank import EmbeddingBank
from .gather import GatheredRows, gather_rows
from .labelled_queue import LabelledQueue
from .projection_mlp import ProjectionMLP

__all__ = [
    'ClassCountsBuffer',
    'ClassQueue',
    'CosineConv2d',
    'CosineLinear',
    'EmbeddingBank',
    'GatheredRows',
    'LabelledQueue',
    'ProjectionMLP',
    'gather_rows',
]
