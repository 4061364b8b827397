"""Every config, and every variant of one, parses, is short, and is what its name and pages say."""

import re

import pytest
from config_files import CONFIGS, FILES, ROOT, earlier, load, path_of, types, variants_of

from lt_mm import registry
from lt_mm.analysis.variants import config_diff

CHILDREN = (
    registry.DATASETS,
    registry.DATA_SAMPLERS,
    registry.HOOKS,
    registry.METRICS,
    registry.MODELS,
)
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('**/*.md'))]
DATASETS = dict(
    ade20k='ADE20KDataset',
    digit_scenes='lt_mm.DigitScenesDataset',
    digits_lt='lt_mm.DigitsLT',
    fashion_mnist_lt='lt_mm.FashionMNISTLT',
    freedoom_scenes='lt_mm.FreedoomScenesDataset',
    imagenet_lt='lt_mm.ImageNetLT',
    inaturalist2017='lt_mm.INaturalist2017',
    inaturalist2018='lt_mm.INaturalist2018',
    places_lt='lt_mm.PlacesLT',
)
OF_PAPERS = ('cifar_lt', 'imagenet_lt', 'inaturalist2017', 'inaturalist2018', 'places_lt')
PAPERS = [name for name in FILES if name.startswith(OF_PAPERS)]


@pytest.mark.parametrize('name', FILES)
def test_components_exist_and_settings_are_those_of_today(name):
    cfg = load(name)
    found = {kind for kind in types(cfg.to_dict()) if kind.startswith('lt_mm.')}
    # A name of an earlier version raises an error of its own.
    assert all(any(kind in child for child in CHILDREN) for kind in found)
    assert {'lt_mm.ClassCountsHook', 'lt_mm.RandomStateHook'} <= found
    assert found & {'lt_mm.LongTailIoUMetric', 'lt_mm.LongTailAccuracy', 'lt_mm.ExpertAccuracy'}
    assert cfg.default_scope == ('mmseg' if 'decode_head' in cfg.model else 'mmpretrain')


@pytest.mark.parametrize('name', FILES)
def test_a_file_is_short_and_says_what_it_is(name):
    lines = path_of(name).read_text().splitlines()
    assert len(lines) <= 30
    assert name.startswith('digit') or lines[0].startswith('# ')


@pytest.mark.parametrize('name', FILES)
def test_the_folder_is_that_of_the_data(name):
    folder = name.rpartition('/')[0] or 'ade20k'
    cfg = load(name)
    sets = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'test')]
    # A part of one is of its kind.
    kinds = {dataset.get('dataset', dataset).type for dataset in sets}
    if folder == 'cifar_lt':
        classes = cfg.model.head.num_classes
        assert kinds == {f'lt_mm.CIFAR{classes}LT'} and f'_cifar{classes}' in name
    else:
        # The balanced half of Table 8 is on all of ImageNet.
        assert kinds == {'ImageNet' if '_imagenet_' in name else DATASETS[folder]}


@pytest.mark.parametrize('name', FILES)
def test_a_variant_is_a_point_of_a_grid(name):
    """Its name says what it changes, and what differs is little."""
    plain = load(name)
    for variant in variants_of(name):
        cfg, (kind, number) = load(variant), re.fullmatch(r'.*@([a-z]+)(\d+)', variant).groups()
        if kind == 'if':
            assert plain.train_dataloader.dataset.imbalance_factor == 100
            assert cfg.train_dataloader.dataset.imbalance_factor == int(number)
        elif kind == 'r':
            assert cfg.model.backbone.depth == int(number)
        elif kind == 'alpha':
            (alpha,) = alphas(cfg)
            assert alpha == float(f'{number[0]}.{number[1:] or 0}')
        else:
            changed = config_diff(plain.to_dict(), cfg.to_dict())
            budget = ('optim_wrapper', 'train_cfg', 'param_scheduler', 'val_')
            assert changed and not any(line[2:].startswith(budget) for line in changed)
        assert cfg.param_scheduler == plain.param_scheduler and cfg.train_cfg == plain.train_cfg


def alphas(cfg):
    """Strengths of logit adjustment that a segmentation config sets."""
    head = cfg.model.decode_head
    found = {head.get('alpha'), head.loss_decode.get('alpha')}
    return found - {None}


@pytest.mark.parametrize('name', PAPERS)
def test_the_name_tells_epochs(name):
    cfg = load(name)
    epochs = int(re.search(r'_(\d+)e$', name)[1])
    assert cfg.train_cfg.max_epochs == epochs
    last = cfg.param_scheduler[-1]
    assert max(last.milestones) < epochs if 'milestones' in last else last.end == epochs


@pytest.mark.parametrize('name', PAPERS)
def test_residual_branches_begin_as_in_the_public_codes(name):
    """mmpretrain zeroes the last norm of each by default, none of them does."""
    backbone = load(name).model.backbone
    backbone = backbone.get('backbone', backbone)
    if backbone.type in ('ResNet', 'ResNeXt', 'ResNet_CIFAR'):
        assert backbone.zero_init_residual is False
    else:
        assert backbone.type in ('lt_mm.ResNetCifar6n2', 'VisionTransformer')


@pytest.mark.parametrize('name', PAPERS)
def test_learning_rate_is_for_a_whole_number_of_processes(name):
    cfg = load(name)
    assert cfg.auto_scale_lr.enable is False
    assert cfg.auto_scale_lr.base_batch_size % cfg.train_dataloader.batch_size == 0


@pytest.mark.parametrize('name', PAPERS)
def test_a_checkpoint_is_chosen_on_a_split_that_is_not_reported(name):
    cfg = load(name)
    own = {'_imagenet-lt_': 'ImageNet', '_places-lt_': 'Places'}
    (prefix,) = [prefix for part, prefix in own.items() if part in name] or [None]
    if prefix is None:
        assert 'save_best' not in cfg.default_hooks.checkpoint
        return
    splits = [cfg[f'{split}_dataloader'].dataset.ann_file for split in ('train', 'val', 'test')]
    assert splits == [f'{prefix}_LT_{split}.txt' for split in ('train', 'val', 'test')]
    assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'


@pytest.mark.parametrize('name', [name for name in FILES if load(name).get('earlier_stages')])
def test_an_earlier_stage_is_named_once_and_fits(name):
    for each in (name, *variants_of(name)):
        cfg = load(each)
        for stage, entry in cfg.earlier_stages.items():
            first = load(earlier(each, stage))
            assert first.train_dataloader.dataset.type == cfg.train_dataloader.dataset.type
            for loader in (first.train_dataloader, cfg.train_dataloader):
                factor = loader.dataset.get('imbalance_factor')
                assert factor == cfg.train_dataloader.dataset.get('imbalance_factor')
            assert (entry.gives == 'teacher') == (cfg.model.get('teacher') == {})


def test_the_page_of_papers_lists_every_config():
    page = (ROOT / 'docs/paper_configs.md').read_text()
    listed = set(re.findall(rf'`((?:{"|".join(OF_PAPERS)})/[\w.-]+)\.py`', page))
    assert listed == set(PAPERS)


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.stem)
def test_configs_and_variants_that_a_page_names_exist(page):
    text = page.read_text()
    stems = {name.rpartition('/')[2]: name for name in FILES}
    named = re.findall(r'`((?:configs/)?[\w./-]+_[\w.-]+\.py)(?: --variant (\w+))?`', text)
    named += re.findall(r'(configs/[\w./-]+\.py)(?: --variant (\w+))?', text)
    for path, variant in named:
        name = path.removeprefix('configs/').removesuffix('.py')
        if name.rpartition('/')[2] not in stems and not path.startswith('configs/'):
            # Not a config, but a tool or a module.
            assert not re.search(r'_(ade20k|digits|digits-lt|\d+e)$', name), path
            continue
        if '/' not in name:
            # In a text or a base, beside a config that has its folder.
            name = stems[name]
        assert (CONFIGS / f'{name}.py').is_file(), path
        assert not variant or f'{name}@{variant}' in variants_of(name), (path, variant)
    for variant in set(re.findall(r'--variant (\w+)', text)) - {'NAME'}:
        assert any(each.endswith(f'@{variant}') for name in FILES for each in variants_of(name))
