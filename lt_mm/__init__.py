"""Long-tailed recognition for MMEngine: components for mmsegmentation and mmpretrain configs."""

from importlib.util import find_spec

from lt_mm.version import __version__

_missing = [name for name in ('torch', 'mmengine', 'mmcv', 'mmseg') if find_spec(name) is None]
if _missing:
    raise ImportError(
        f'lt_mm needs {", ".join(_missing)}, which this Python does not have: run '
        '`pip install -r requirements.txt`.'
    )

from lt_mm import checkpoints as _checkpoints  # noqa: E402
from lt_mm import compat as _compat  # noqa: E402

_compat.let_configs_inherit_from_mmseg()
_compat.let_configs_inherit_from_lt_mm()
_checkpoints.read_safely_everywhere()

__all__ = ['__version__']
