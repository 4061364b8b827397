"""Differences between the two distributions of the mm packages, bridged in one place."""

from importlib.metadata import PackageNotFoundError, distribution

from mmengine.config.utils import MODULE2PACKAGE


def let_configs_inherit_from_mmseg() -> None:
    """Make ``_base_ = 'mmseg::...'`` work when mmseg was not installed as ``mmsegmentation``.

    mmengine looks the distribution up by the name ``mmsegmentation``; the maintained fork is
    called differently but provides the same module. Where the original is installed, nothing is
    changed.
    """
    try:
        distribution('mmsegmentation')
    except PackageNotFoundError:
        MODULE2PACKAGE['mmseg'] = 'mmseg'
