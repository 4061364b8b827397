"""Class log-likelihoods under Gaussian mixtures, exact and never of N x K memory."""

from lt_mm.functional.mixture.log_likelihood import class_log_likelihood

__all__ = ['class_log_likelihood']
