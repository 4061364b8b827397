"""Functions measured in processes of their own, and what they were measured on."""

import os
import platform
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
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


def describe_environment() -> dict[str, str | int]:
    """Date, hardware and versions.

    Returns:
        Values that JSON can hold; ``gpu`` and ``triton`` only where they are there.
    """
    described = dict(
        date=date.today().isoformat(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        torch=torch.__version__,
    )
    if torch.cuda.is_available():
        described['gpu'] = torch.cuda.get_device_name()
    if find_spec('triton') is not None:
        try:
            described['triton'] = version('triton')
        except PackageNotFoundError:
            described['triton'] = 'unknown version'
    return described


def _processor() -> str:
    """The name the kernel knows it by; ``platform`` has none on Linux."""
    information = Path('/proc/cpuinfo')
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()
