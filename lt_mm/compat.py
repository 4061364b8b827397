"""Private names of the mm packages, and what differs between their two distributions."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

_CONFIGS = Path(__file__).parent / '.mim' / 'configs'
# By these a ClsHead of mmpretrain makes losses of logits, and predictions; all but the first have
# no public name.
LOSSES_OF_CLS_HEAD = ('loss', '_get_loss', '_get_predictions')


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


def let_configs_inherit_from_lt_mm() -> None:
    """Make ``_base_ = 'lt_mm::...'`` and ``mmengine.hub.get_config('lt_mm::...')`` work.

    mmengine knows the names of OpenMMLab's packages only, and does three things that do not fit:

    - ``get_config`` installs with pip what is no distribution by that name, and some versions guess
      a wrong folder for an editable one. Given a module's name, it finds that as Python does.
    - It insists on a folder before the file name, but ``gml_fcn_r50_ade20k.py`` lies in none.
    - It marks what a base config builds with the scope of the package. Registries of lt_mm would be
      asked for mmseg's ``EncoderDecoder``; configs of lt_mm set ``default_scope`` themselves.
    """
    MODULE2PACKAGE['lt_mm'] = 'lt_mm.version'
    split, find = config_utils._get_package_and_cfg_path, Config._get_cfg_path

    def split_name(cfg_path: str) -> tuple[str, str]:
        name = _name_in_lt_mm(cfg_path)
        return split(cfg_path) if name is None else (MODULE2PACKAGE['lt_mm'], name)

    def find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
        name = _name_in_lt_mm(cfg_path)
        return find(cfg_path, filename) if name is None else (str(_CONFIGS / name), None)

    config_utils._get_package_and_cfg_path = split_name
    if 'mmengine.hub.hub' in sys.modules:
        # It has taken the function under this name.
        sys.modules['mmengine.hub.hub']._get_package_and_cfg_path = split_name
    Config._get_cfg_path = staticmethod(find_base)


def _name_in_lt_mm(cfg_path: str) -> str | None:
    """What follows ``lt_mm::``; None where a path begins otherwise.

    Raises:
        FileNotFoundError: if the package has no such config, or none, for want of installation.
    """
    if not cfg_path.startswith('lt_mm::'):
        return None
    name = cfg_path.removeprefix('lt_mm::')
    if not _CONFIGS.is_dir():
        raise FileNotFoundError(
            f'{cfg_path} is looked for in {_CONFIGS}, which only an installation makes: run '
            '`pip install -e .` in the repository, or inherit from the path of the config.'
        )
    if not (_CONFIGS / name).is_file():
        raise FileNotFoundError(
            f'{cfg_path} is no config: {_CONFIGS} has no file {name}; check folder and spelling.'
        )
    return name


def draws_batches_to_skip(loop: Any) -> bool:
    """Whether a resumed loop loads the batches that it has trained on before.

    OpenMMLab's mmengine 0.10.7 does in a loop by iteration, which costs time and random numbers;
    the fork asks the sampler to skip them.

    Args:
        loop: of the training.
    """
    batches = getattr(loop, 'dataloader_iterator', None)
    return batches is not None and not hasattr(batches, 'skip_iter')


def is_batch_norm(layer: nn.Module) -> bool:
    """Whether a layer is a batch normalisation of any dimension, in sync over processes or not.

    torch has no public base class of them.
    """
    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def swaps_channels(preprocessor: nn.Module | None) -> bool | None:
    """Whether a data preprocessor swaps red and blue; None where that is not known.

    mmengine keeps it under no public name, mmseg 1.2 and mmpretrain's data preprocessors of some
    tasks under others.
    """
    names = ('_channel_conversion', 'channel_conversion', 'to_rgb')
    return next(
        (getattr(preprocessor, name) for name in names if hasattr(preprocessor, name)), None
    )


def stacked_labels(head: nn.Module, data_samples: list) -> Tensor | tuple[Tensor, ...]:
    """The (N, 1, H, W) labels that a decode head of mmseg learns from, as it collects them itself.

    Some heads collect more than one map, which no public method tells.
    """
    return head._stack_batch_gt(data_samples)


def resumes_latest(runner: Runner) -> bool:
    """Whether a Runner will look for the latest checkpoint in its work dir and resume that."""
    return bool(runner._resume) and runner._load_from is None and not runner._has_loaded


def resume_from(runner: Runner, checkpoint: str) -> None:
    """Let a Runner that resumes go on from this checkpoint."""
    runner._load_from = checkpoint


def resumes(runner: Runner) -> bool:
    """Whether what a Runner loads is to be gone on with."""
    return bool(runner._resume)


def resumed_from(runner: Runner) -> str | None:
    """Path or address of what a Runner has resumed; None if it has not."""
    return runner._load_from if runner._resume else None


def whole_dataset(dataset: Dataset) -> Dataset:
    """The data set of which mmengine has cut a part for ``num_batch_per_epoch``, or itself.

    The wrapper that the Runner makes for that has it under no public name.
    """
    return getattr(dataset, '_dataset', dataset)


def know_rules(greater: Sequence[str], less: Sequence[str]) -> None:
    """Tell mmengine's ``CheckpointHook`` of which figures more, or less, is better.

    It infers this from parts of names, in lists that it takes for its defaults; without it,
    ``save_best`` of a figure of ours needs ``rule`` as well.

    Args:
        greater: parts of names of figures of which more is better.
        less: of which less is.
    """
    for known, more in (
        (CheckpointHook._default_greater_keys, greater),
        (CheckpointHook._default_less_keys, less),
    ):
        known += [key for key in more if key not in known]


def has_intact_archive(dataset: Dataset) -> bool:
    """Whether the files of a CIFAR of mmpretrain are there and have the right sums.

    Its public methods only fail where they are not, like those of any other fault.
    """
    return dataset._check_integrity()


def name_classes(dataset: BaseDataset, names: tuple[str, ...]) -> None:
    """Give the classes of a data set their names, once its file was read; ``metainfo`` is a copy.

    Args:
        dataset: of mmengine's kind.
        names: one a class, in the order of the labels.
    """
    dataset._metainfo['classes'] = names
