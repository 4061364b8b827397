"""Run a function in a process that has done nothing else, to measure what it alone needs."""

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch


def in_fresh_process(function: Callable, *args: Any) -> Any:
    """Call a module-level function in a new interpreter.

    Args:
        function: importable by name there.
        args: picklable.

    Returns:
        What it returns; picklable.
    """
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(function, *args).result()


def peak_memory(device: torch.device | str) -> int:
    """Bytes that this process has held at most: resident memory, or allocated on a GPU."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == 'darwin' else 1024
    )
