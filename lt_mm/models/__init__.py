"""Registered model components."""

from importlib.util import find_spec

from .heads import *  # noqa: F403
from .losses import *  # noqa: F403
from .networks import *  # noqa: F403

if find_spec('mmpretrain') is not None:
    from .backbones import *  # noqa: F403
    from .necks import *  # noqa: F403
