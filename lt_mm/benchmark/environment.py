"""What a measurement was made on, for the files that keep its result."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch


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
