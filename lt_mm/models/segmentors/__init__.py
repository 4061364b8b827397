"""Segmentors for methods that need several stages or more than one network."""

from .decoupled_encoder_decoder import DecoupledEncoderDecoder
from .teacher_encoder_decoder import TeacherEncoderDecoder

__all__ = ['DecoupledEncoderDecoder', 'TeacherEncoderDecoder']
