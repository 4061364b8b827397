"""The states of all random generators of a process."""

import random

import numpy as np
import torch


def random_states() -> dict:
    """The states of this process, without numpy's arrays: they would need an allow-list."""
    kind, keys, *rest = np.random.get_state()
    states = dict(
        python=random.getstate(),
        numpy=(kind, keys.tolist(), *rest),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict) -> None:
    """Put states back.

    Args:
        states: what :func:`random_states` returned.
    """
    random.setstate(states['python'])
    np.random.set_state(states['numpy'])
    # mmengine loads a checkpoint to the device of the model; the states belong on the CPU.
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())
