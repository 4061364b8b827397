"""Data sets as configs describe them: found inside wrappers, checked, read with other pipelines."""

import inspect
import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS

from lt_mm.engine.launch import DATALOADERS

# As in the dataset guides of mmsegmentation and mmpretrain; a subclass is found by its nearest
# parent.
DOWNLOADS = {
    'ADE20KDataset': 'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
    'CityscapesDataset': 'https://www.cityscapes-dataset.com/downloads/',
    'COCOStuffDataset': 'https://github.com/nightrome/cocostuff#downloads',
    'PascalVOCDataset': 'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/',
    'ImageNet': 'https://image-net.org/download.php',
    'ImageNetLT': 'https://image-net.org/download.php and the lists of docs/datasets.md',
    'PlacesLT': 'http://places2.csail.mit.edu/download.html and the lists of docs/datasets.md',
    'INaturalist2017': 'https://github.com/visipedia/inat_comp/tree/master/2017',
    'INaturalist2018': 'https://github.com/visipedia/inat_comp/tree/master/2018',
    'CIFAR10': 'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
    'CIFAR100': 'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',
}


def check_dataset_paths(
    cfg: Config, dataloaders: Sequence[str] = DATALOADERS, suffixes: bool = False
) -> None:
    """Check that the folders and annotation files of all datasets in ``cfg`` exist and hold some.

    Looked at are ``data_prefix`` and ``ann_file``, joined with ``data_root`` as mmengine does, or
    ``data_root`` alone, inside any nesting of wrappers (``dataset``, ``datasets``). No dataset is
    instantiated. Let through are remote paths, and dataset classes that fetch or make their data:
    those with a truthy attribute ``makes_itself_when_missing``, and those whose argument
    ``download`` is true. Labels of a test may be absent.

    Args:
        cfg: a config of mmseg or mmpretrain; ``default_scope`` says where the names of
            datasets are looked up.
        dataloaders: keys of ``cfg`` to look at; those absent or None are skipped.
            Defaults to the loaders for training, validation and test.
        suffixes: whether folders of images have to hold some whose names end in the dataset's
            ``img_suffix``. Defaults to False.

    Raises:
        FileNotFoundError: with the name of the first dataset that is missing or empty, its absolute
            path and the options that would set it.
    """
    missing, empty = [], []
    for name in dataloaders:
        loader = cfg.get(name)
        if loader is None:
            continue
        for option, dataset in walk_datasets(loader.get('dataset'), f'{name}.dataset'):
            cls = _dataset_class(dataset, cfg.get('default_scope'))
            if not _gets_its_own_data(cls, dataset):
                missing += [(cls, dataset, *found) for found in _missing_paths(dataset, option)]
                empty += [(cls, *found) for found in _empty_folders(cls, dataset, option, suffixes)]
    if not missing:
        _refuse_empty(empty)
        return
    cls, dataset, _, path = missing[0]
    settings = dict.fromkeys(f'{key}=PATH' for *_, key, other in missing if other == path)
    names = [base.__name__ for base in inspect.getmro(cls)] if cls else []
    page = next((DOWNLOADS[name] for name in names if name in DOWNLOADS), None)
    source = f' (download: {page} )' if page else ''
    raise FileNotFoundError(
        f'The data of {names[0] if names else dataset.get("type")} is missing, {path} does not '
        f'exist: put it there{source}, or say where it is with '
        f'--cfg-options {" ".join(settings)}'
    )


def walk_datasets(dataset: object, option: str) -> Iterator[tuple[str, dict]]:
    """Yield the datasets that wrappers such as ``RepeatDataset`` or ``ConcatDataset`` hold.

    Args:
        dataset: the ``dataset`` of a dataloader. What is no dict, such as a dataset that
            is already built, is skipped.
        option: dotted key of ``dataset``, as ``--cfg-options`` takes it.

    Yields:
        Dotted key and config of every innermost dataset.
    """
    if not isinstance(dataset, Mapping):
        return
    if 'datasets' in dataset:
        for i, inner in enumerate(dataset['datasets']):
            yield from walk_datasets(inner, f'{option}.datasets.{i}')
    elif 'dataset' in dataset:
        yield from walk_datasets(dataset['dataset'], f'{option}.dataset')
    else:
        yield option, dataset


def dataset_with_pipeline(
    owner: str, purpose: str, loader: Mapping | None, reader: Mapping | None
) -> dict:
    """Config of the data set of ``loader`` with the pipeline of ``reader``.

    Args:
        owner: what the error calls who asks.
        purpose: what it says cannot be told, such as 'how to augment the test set'.
        loader: config of a data loader, whose data set is wanted.
        reader: config of another, whose pipeline is.

    Raises:
        ValueError: if either has no data set with a pipeline of its own.
    """
    datasets = [(one or {}).get('dataset') for one in (loader, reader)]
    if not all(isinstance(one, Mapping) and 'pipeline' in one for one in datasets):
        raise ValueError(
            f'{owner} cannot tell {purpose}, because a data loader of the config has no dataset '
            'with a pipeline; give it dataloader=dict(...).'
        )
    return {**datasets[0], 'pipeline': datasets[1]['pipeline']}


def _dataset_class(dataset: Mapping, default_scope: str | None) -> type | None:
    """Return the class, or None if it is unknown, which building the dataset will report."""
    cls = dataset.get('type')
    if not isinstance(cls, str):
        return cls
    with DATASETS.switch_scope_and_registry(dataset.get('_scope_', default_scope)) as registry:
        return registry.get(cls)


def _gets_its_own_data(cls: type | None, dataset: Mapping) -> bool:
    if getattr(cls, 'makes_itself_when_missing', False):
        return True
    for base in inspect.getmro(cls) if cls else ():
        argument = inspect.signature(base.__init__).parameters.get('download')
        if argument is not None:
            return bool(dataset.get('download', argument.default))
    return False


def _refuse_empty(empty: Sequence[tuple[type | None, str, str, str]]) -> None:
    if not empty:
        return
    cls, _, path, suffix = empty[0]
    settings = dict.fromkeys(f'{key}=PATH' for _, key, other, _ in empty if other == path)
    which = f" whose name ends in '{suffix}' (img_suffix)" if suffix else ''
    raise FileNotFoundError(
        f'The data of {cls.__name__ if cls else "a dataset"} is missing, {path} holds no '
        f'file{which}: put it there, or say where it is with --cfg-options {" ".join(settings)}'
    )


def _empty_folders(
    cls: type | None, dataset: Mapping, option: str, suffixes: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted key, absolute path, suffix) of folders without a file of that suffix."""
    for key, _, path in _paths(dataset):
        suffix = ''
        if suffixes and key == 'data_prefix.img_path' and not dataset.get('ann_file'):
            parameters = inspect.signature(cls.__init__).parameters if cls else {}
            default = parameters['img_suffix'].default if 'img_suffix' in parameters else ''
            suffix = dataset.get('img_suffix', default)
        suffix = suffix if isinstance(suffix, str) else ''
        unlabelled = option.startswith('test_') and 'seg_map' in key
        if osp.isdir(path) and not unlabelled and not _holds_a_file(path, suffix):
            yield f'{option}.{key}', osp.abspath(path), suffix if _holds_a_file(path) else ''


def _holds_a_file(folder: str, suffix: str = '') -> bool:
    """Whether there is a file of that name, at any depth, or what cannot be looked into."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name.endswith(suffix):
                    return True
    except OSError:
        return True
    return any(_holds_a_file(inner, suffix) for inner in folders)


def _missing_paths(dataset: Mapping, option: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, absolute path) of what does not exist."""
    root = dataset.get('data_root') or ''
    for key, value, path in _paths(dataset):
        if osp.exists(path):
            continue
        if root and not osp.isabs(value) and not osp.exists(root):
            key, path = 'data_root', root
        yield f'{option}.{key}', osp.abspath(path)


def _paths(dataset: Mapping) -> Iterator[tuple[str, str, str]]:
    """Yield (key, value, path) of what the dataset reads from this machine."""
    if (dataset.get('backend_args') or {}).get('backend', 'local') != 'local':
        return
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix', '')
    if isinstance(prefix, Mapping):
        values = {f'data_prefix.{key}': value for key, value in prefix.items()}
    else:
        values = {'data_prefix': prefix}
    values['ann_file'] = dataset.get('ann_file') or None
    for key, value in values.items():
        if not isinstance(value, str):
            continue
        value = osp.expanduser(value)
        path = osp.join(root, value)
        if path and '://' not in path:
            yield key, value, path
