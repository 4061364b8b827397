"""Segmentors for methods that need more than one network."""

from .frozen_teacher import FrozenTeacher
from .teacher_encoder_decoder import TeacherEncoderDecoder

__all__ = ['FrozenTeacher', 'TeacherEncoderDecoder']
