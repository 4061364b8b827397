"""Packaging: ``pip install -e .`` beside either distribution of the mm packages."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION: dict = {}
exec((ROOT / 'lt_mm' / 'version.py').read_text(), VERSION)

setup(
    name='lt_mm',
    version=VERSION['__version__'],
    description='Long-tailed recognition for MMEngine, mmsegmentation and mmpretrain',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    packages=find_packages(include=['lt_mm', 'lt_mm.*']),
    package_data={'lt_mm': ['class_counts/*.json']},
    python_requires='>=3.10',
    # The mm stack is left out on purpose: two distributions provide the same modules, and pip
    # must not install one over the other. requirements.txt holds the default stack.
    install_requires=['numpy', 'torch>=2.4', 'matplotlib', 'rich', 'scikit-learn>=1.3', 'scipy'],
    extras_require={'test': ['pytest', 'pytest-xdist', 'hypothesis', 'ruff']},
)
