"""Segmentors for methods that need more than one network."""

from .frozen_teacher import FrozenTeacher
from .safe_checkpoint import load_weights, read_checkpoint
from .teacher_encoder_decoder import TeacherEncoderDecoder

__all__ = ['FrozenTeacher', 'TeacherEncoderDecoder', 'load_weights', 'read_checkpoint']
