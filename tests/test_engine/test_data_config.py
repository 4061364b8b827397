import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from lt_mm.engine.data_config import check_dataset_paths, walk_datasets


def config(train=None, scope='mmseg', **loaders):
    loaders = {f'{name}_dataloader': dict(dataset=dataset) for name, dataset in loaders.items()}
    train = None if train is None else dict(dataset=train)
    return Config(dict(default_scope=scope, train_dataloader=train, **loaders))


def ade(root, **kwargs):
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    return dict(type='ADE20KDataset', data_root=str(root), data_prefix=prefix, **kwargs)


def make_ade(root):
    for folder in ('images/training', 'annotations/training'):
        (root / folder).mkdir(parents=True)
        (root / folder / ('0.jpg' if folder.startswith('images') else '0.png')).touch()


def message(cfg, **kwargs):
    with pytest.raises(FileNotFoundError) as caught:
        check_dataset_paths(cfg, **kwargs)
    return str(caught.value)


def test_existing_folders_pass(tmp_path):
    make_ade(tmp_path)
    check_dataset_paths(config(ade(tmp_path), val=ade(tmp_path)))


def test_missing_root_is_told_once_with_class_path_download_and_every_option(tmp_path):
    root = tmp_path / 'ade'
    text = message(config(ade(root), val=ade(root), test=ade(root)))
    assert text.count(str(root)) == 1
    assert 'ADE20KDataset' in text and 'ADEChallengeData2016' in text
    for loader in ('train', 'val', 'test'):
        assert text.count(f'{loader}_dataloader.dataset.data_root=PATH') == 1
    assert '\n' not in text and 'data_prefix' not in text


def test_relative_root_is_reported_as_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f'{tmp_path}/data/ade does not exist' in message(config(ade('data/ade')))


def test_missing_subfolder_names_its_own_option(tmp_path):
    make_ade(tmp_path)
    shutil.rmtree(tmp_path / 'annotations/training')
    text = message(config(ade(tmp_path)))
    assert str(tmp_path / 'annotations/training') in text
    assert 'train_dataloader.dataset.data_prefix.seg_map_path=PATH' in text
    assert 'data_root' not in text


def test_missing_annotation_file(tmp_path):
    make_ade(tmp_path)
    text = message(config(ade(tmp_path, ann_file='splits/train.txt')))
    assert str(tmp_path / 'splits/train.txt') in text and 'dataset.ann_file=PATH' in text
    (tmp_path / 'splits').mkdir()
    (tmp_path / 'splits/train.txt').touch()
    check_dataset_paths(config(ade(tmp_path, ann_file='splits/train.txt')))


@pytest.mark.parametrize('part', ['images', 'annotations'])
def test_an_empty_folder_is_named(tmp_path, part):
    make_ade(tmp_path)
    for path in (tmp_path / part).rglob('0.*'):
        path.unlink()
    (tmp_path / part / 'training' / 'deep').mkdir()
    text = message(config(ade(tmp_path), val=ade(tmp_path)))
    assert f'The data of ADE20KDataset is missing, {tmp_path / part / "training"} holds' in text
    key = dict(images='img_path', annotations='seg_map_path')[part]
    for loader in ('train', 'val'):
        assert text.count(f'{loader}_dataloader.dataset.data_prefix.{key}=PATH') == 1
    # A test may be without labels.
    cfg = config(None, test=ade(tmp_path))
    if part == 'annotations':
        check_dataset_paths(cfg)
    else:
        assert 'test_dataloader' in message(cfg)
    (tmp_path / part / 'training' / 'deep' / '0.jpg').touch()
    check_dataset_paths(config(ade(tmp_path)))


def test_a_folder_of_other_names_is_named(tmp_path):
    make_ade(tmp_path)
    (tmp_path / 'images/training/0.jpg').rename(tmp_path / 'images/training/0.png')
    told = "images/training holds no file whose name ends in '.jpg' (img_suffix)"
    assert told in message(config(ade(tmp_path)), suffixes=True)
    check_dataset_paths(config(ade(tmp_path)))
    check_dataset_paths(config(ade(tmp_path, img_suffix='.png')), suffixes=True)
    # Lists name files with their suffix as they like.
    (tmp_path / 'list.txt').touch()
    check_dataset_paths(config(ade(tmp_path, ann_file='list.txt')), suffixes=True)


@pytest.mark.parametrize('folders', [(), ('cat', 'dog')])
def test_an_empty_folder_of_classes_is_named(tmp_path, folders):
    for folder in folders:
        (tmp_path / folder).mkdir()
    custom = dict(type='CustomDataset', data_prefix=str(tmp_path))
    assert f'{tmp_path} holds no file:' in message(config(custom, scope='mmpretrain'))


def test_absolute_prefixes_need_no_root(tmp_path):
    make_ade(tmp_path)
    dataset = ade(tmp_path / 'nowhere')
    dataset['data_prefix'] = {k: str(tmp_path / v) for k, v in dataset['data_prefix'].items()}
    check_dataset_paths(config(dataset))


def test_root_alone_and_string_prefix(tmp_path):
    (tmp_path / 'cat').mkdir()
    (tmp_path / 'cat' / '0.JPEG').touch()
    imagenet = dict(type='ImageNet', data_root=str(tmp_path), split='train')
    check_dataset_paths(config(imagenet, scope='mmpretrain'))
    text = message(config(dict(imagenet, data_prefix='train'), scope='mmpretrain'))
    assert str(tmp_path / 'train') in text and 'dataset.data_prefix=PATH' in text
    text = message(config(dict(imagenet, data_root=str(tmp_path / 'no')), scope='mmpretrain'))
    assert 'ImageNet' in text and 'dataset.data_root=PATH' in text


def test_wrappers_are_opened(tmp_path):
    make_ade(tmp_path)
    bad = ade(tmp_path / 'no')
    text = message(config(dict(type='RepeatDataset', times=2, dataset=bad)))
    assert 'train_dataloader.dataset.dataset.data_root=PATH' in text
    nested = dict(type='ConcatDataset', datasets=[ade(tmp_path), dict(type='X', dataset=bad)])
    assert [option for option, _ in walk_datasets(nested, 'd')] == [
        'd.datasets.0',
        'd.datasets.1.dataset',
    ]
    cfg = config(nested)
    option = next(word for word in message(cfg).split() if word.endswith('.data_root=PATH'))
    cfg.merge_from_dict({option.removesuffix('=PATH'): str(tmp_path)})
    check_dataset_paths(cfg)


def test_only_the_loaders_asked_for(tmp_path):
    make_ade(tmp_path)
    cfg = config(ade(tmp_path / 'no'), test=ade(tmp_path))
    check_dataset_paths(cfg, ('test_dataloader',))
    assert 'train_dataloader' in message(cfg, dataloaders=('train_dataloader',))


def test_a_dataset_that_makes_itself_passes_without_being_built(tmp_path):
    class Maker:
        makes_itself_when_missing = True

        def __init__(self, **kwargs):
            raise AssertionError('the check must not build datasets')

    class Reader(Maker):
        makes_itself_when_missing = False

    cfg = dict(type=Maker, data_root=str(tmp_path / 'no'))
    check_dataset_paths(Config(dict(train_dataloader=dict(dataset=cfg))))
    DATASETS.register_module(module=Maker, name='MakerOfThisTest', force=True)
    check_dataset_paths(config(dict(cfg, type='MakerOfThisTest')))
    assert 'Reader' in message(config(dict(cfg, type=Reader)))


def test_a_dataset_that_downloads_passes_unless_told_not_to(tmp_path):
    cifar = dict(type='CIFAR100', data_root=str(tmp_path / 'no'))
    check_dataset_paths(config(cifar, scope='mmpretrain'))
    assert 'CIFAR100' in message(config(dict(cifar, download=False), scope='mmpretrain'))


def test_nothing_to_check_passes():
    check_dataset_paths(Config({}))
    check_dataset_paths(config(None))
    check_dataset_paths(config(dict(type='ADE20KDataset')))


def test_remote_data_passes():
    check_dataset_paths(config(ade('s3://bucket/ade')))
    check_dataset_paths(config(ade('bucket/ade', backend_args=dict(backend='petrel'))))


def test_unknown_class_is_still_named():
    assert 'NoSuchDataset' in message(config(dict(type='NoSuchDataset', data_root='/no/where')))


def test_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    Path(tmp_path, 'images').mkdir()
    Path(tmp_path, 'images', '0.jpg').touch()
    cfg = dict(type='CustomDataset', data_prefix='~/images')
    check_dataset_paths(config(cfg, scope='mmpretrain'))


@pytest.mark.parametrize(
    'dataset, source',
    [
        ('ImageNetLT', 'image-net.org'),
        ('PlacesLT', 'places2.csail.mit.edu'),
        ('INaturalist2017', 'inat_comp/tree/master/2017'),
        ('INaturalist2018', 'inat_comp/tree/master/2018'),
    ],
)
def test_long_tailed_datasets_say_where_images_and_lists_come_from(tmp_path, dataset, source):
    cfg = dict(type=f'lt_mm.{dataset}', data_root=str(tmp_path), ann_file='train.txt')
    text = message(config(cfg, scope='mmpretrain'))
    assert dataset in text and source in text and str(tmp_path / 'train.txt') in text
    assert 'dataset.ann_file=PATH' in text
    (tmp_path / 'train.txt').touch()
    check_dataset_paths(config(cfg, scope='mmpretrain'))


@pytest.mark.parametrize('dataset, archive', [('CIFAR10LT', '-10-'), ('CIFAR100LT', '-100-')])
def test_long_tailed_cifar_downloads_unless_told_not_to(tmp_path, dataset, archive):
    cfg = dict(type=f'lt_mm.{dataset}', data_root=str(tmp_path / 'no'), split='train')
    check_dataset_paths(config(cfg, scope='mmpretrain'))
    text = message(config(dict(cfg, download=False), scope='mmpretrain'))
    assert f'cifar{archive}python.tar.gz' in text and 'dataset.data_root=PATH' in text


def test_digits_need_no_path():
    check_dataset_paths(config(dict(type='lt_mm.DigitsLT', split='test'), scope='mmpretrain'))
