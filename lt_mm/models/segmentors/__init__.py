"""Segmentors for methods that need more than one network."""

from .teacher_encoder_decoder import TeacherEncoderDecoder

__all__ = ['TeacherEncoderDecoder']
