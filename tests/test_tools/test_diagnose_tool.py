"""The diagnosis of plain models: a shipped config of mmseg and a classifier of mmpretrain."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

import lt_mm  # noqa: F401

TOOL = 'analysis_tools/diagnose.py'
NAMES = ('sky', 'road & <kerb>', 'sign', 'pole', 'never')
SEGMENTOR = """
_base_ = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(base_channels=4, stem_channels=4, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=32, channels=8, num_convs=1, num_classes=5, norm_cfg=norm_cfg),
    auxiliary_head=None)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
data = dict(
    _delete_=True, type='BaseSegDataset', data_root='DATA', img_suffix='.png', pipeline=pipeline,
    metainfo=dict(classes=('sky', 'road & <kerb>', 'sign', 'pole', 'never')))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    data_prefix=dict(img_path='images', seg_map_path='train'), **data))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    data_prefix=dict(img_path='images', seg_map_path='val'), **data))
test_dataloader = val_dataloader
"""


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory):
    """A folder with a config of mmseg, four images and a checkpoint of random weights."""
    home = tmp_path_factory.mktemp('segmentor')
    rng = np.random.default_rng(0)
    for part in ('images', 'train', 'val'):
        (home / 'data' / part).mkdir(parents=True)
    for i in range(4):
        labels = np.zeros((48, 72), np.uint8)
        labels[24:] = 1
        labels[4 + i : 12, 6:20] = 2
        if i == 0:
            labels[30:33, 50:52] = 3
        labels[:2] = 255
        pixels = rng.integers(0, 256, (48, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(home / 'data/images' / f'{i}.png')
        for part in ('train', 'val'):
            Image.fromarray(labels).save(home / 'data' / part / f'{i}.png')
    (home / 'plain.py').write_text(SEGMENTOR.replace('DATA', str(home / 'data')))
    save_weights(home / 'plain.py', home / 'plain.pth')
    return home


def save_weights(config, path, change=lambda weights: None):
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    weights = model.state_dict()
    change(weights)
    torch.save({'state_dict': weights, 'meta': {}}, path)


def read(folder):
    content = json.loads((folder / 'diagnosis.json').read_text())
    page = (folder / 'diagnosis.html').read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(["']?http|@import""", page)
    assert 'NaN' not in (folder / 'diagnosis.json').read_text()
    return content, page


def stopped(run_tool, capsys, *argv, cwd):
    with pytest.raises(SystemExit) as caught:
        run_tool(TOOL, *argv, cwd=cwd)
    assert caught.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_plain_segmentor(run_tool, segmentor, capsys):
    run_tool(TOOL, 'plain.py', 'plain.pth', cwd=segmentor)
    content, page = read(segmentor / 'work_dirs/diagnose/plain')
    pixels = [row['train']['count'] for row in content['classes']]
    assert pixels[4] == 0 and pixels[3] == 6 and sum(pixels) == 4 * 72 * 46
    assert content['data']['train']['absent'] == ['never']
    assert content['classes'][3]['train'] == dict(
        count=6, images=1, regions=1, small_regions=1.0, region_size=4
    )
    # 'sky' is one region, as is 'road', and 'sign' lies within 'sky'.
    assert [row['train']['regions'] for row in content['classes']] == [4, 4, 4, 1, 0]
    model = content['model']
    assert model['images'] == 4 and model['norms']['layer'] == 'decode_head.conv_seg'
    assert all(row['model']['feature_norm'] for row in content['classes'][:4])
    assert content['classes'][4]['model']['accuracy'] is None
    hits = [row['model'] for row in content['classes'][:4]]
    right = sum(m['accuracy'] * m['labelled'] for m in hits) / (4 * 72 * 46)
    assert model['scores']['aAcc'] == pytest.approx(right)
    assert model['worst_pairs'] and page.count('data:image/jpeg') == len(model['worst_pairs'])
    assert 'road &amp; &lt;kerb&gt;' in page and '<kerb>' not in page
    output = capsys.readouterr().out
    for one in content['advice']:
        assert one['command'] in output and one['figures'] and f'id="{one["section"]}"' in page
        assert re.search(r'\d', one['finding'])


def test_scores_are_those_of_the_metric_of_mmseg(run_tool, segmentor, tmp_path):
    run_tool(TOOL, 'plain.py', 'plain.pth', '--out', tmp_path / 'out', cwd=segmentor)
    run_tool('test.py', 'plain.py', 'plain.pth', '--work-dir', tmp_path / 'test', cwd=segmentor)
    (found,) = (tmp_path / 'test').glob('*/*.json')
    told = json.loads(found.read_text())
    scores = read(tmp_path / 'out')[0]['model']['scores']
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert scores[name] * 100 == pytest.approx(told[name], abs=0.006)


def test_windows_of_a_segmentor_and_other_options(run_tool, segmentor, tmp_path):
    test_cfg = ('mode=slide', 'crop_size=(32,32)', 'stride=(24,24)')
    options = [f'model.test_cfg.{setting}' for setting in test_cfg]
    argv = ('plain.py', 'plain.pth', '--out', tmp_path, '--cfg-options', *options)
    run_tool(TOOL, *argv, cwd=segmentor)
    content, _ = read(tmp_path)
    assert all(row['model']['feature_norm'] for row in content['classes'][:4])
    for one in content['advice']:
        assert "'model.test_cfg.crop_size=(32, 32)'" in one['command']


def test_the_data_alone(run_tool, segmentor, tmp_path):
    run_tool(TOOL, 'plain.py', '--out', tmp_path, cwd=segmentor)
    content, page = read(tmp_path)
    assert 'model' not in content and 'about the\ndata alone' in page
    assert any('imbalance_factor' in key for one in content['advice'] for key in one['figures'])


def test_without_the_training_set(run_tool, segmentor, tmp_path, capsys):
    gone = 'train_dataloader.dataset.data_root=/nowhere'
    argv = ('plain.py', 'plain.pth', '--out', tmp_path, '--cfg-options', gone)
    line = stopped(run_tool, capsys, *argv, cwd=segmentor)
    assert '/nowhere' in line and '--class-counts' in line
    counts = tmp_path / 'val_counts.json'
    run_tool(TOOL, 'plain.py', '--out', tmp_path, cwd=segmentor)
    run_tool(TOOL, *argv, '--class-counts', counts, cwd=segmentor)
    content, _ = read(tmp_path)
    assert 'train' not in content['data'] and content['model']
    assert content['classes'][3]['train']['count'] == 6


def test_counts_that_nobody_gives(run_tool, segmentor, tmp_path, capsys):
    config = segmentor / 'no_train.py'
    config.write_text(
        "_base_ = 'plain.py'\ntrain_dataloader = None\ntrain_cfg = None\noptim_wrapper = None\n"
        'param_scheduler = None\n'
    )
    line = stopped(run_tool, capsys, config, 'plain.pth', '--out', tmp_path, cwd=segmentor)
    assert '--class-counts' in line


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (['model.decode_head.num_classes=7'], 'conv_seg.weight of shape (5, 8, 1, 1)'),
        (['val_dataloader.dataset.metainfo.classes=a,b,c,d'], '5 classes and the validation set 4'),
        (['val_dataloader.dataset.data_prefix.img_path=train/none'], 'train/none'),
        (['val_dataloader=None', 'test_dataloader=None'], 'no val_dataloader'),
        (['val_dataloader.dataset.img_suffix=.none'], 'The validation set is empty'),
        (['train_dataloader.dataset.img_suffix=.none'], 'The training set is empty'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_at_once(run_tool, segmentor, tmp_path, capsys, options, told):
    argv = ('plain.py', 'plain.pth', '--out', tmp_path / 'out', '--cfg-options', *options)
    assert told in stopped(run_tool, capsys, *argv, cwd=segmentor)
    assert not (tmp_path / 'out' / 'diagnosis.html').exists()


def test_checkpoints_that_are_none(run_tool, segmentor, tmp_path, capsys):
    argv = ('--out', tmp_path / 'out')
    assert 'absent.pth' in stopped(run_tool, capsys, 'plain.py', 'absent.pth', *argv, cwd=segmentor)
    torch.save({'state_dict': {'backbone.stem.0.weight': torch.ones(1)}}, tmp_path / 'other.pth')
    line = stopped(run_tool, capsys, 'plain.py', tmp_path / 'other.pth', *argv, cwd=segmentor)
    assert 'other.pth' in line and 'shape' in line or 'lacks' in line
    torch.save([1, 2], tmp_path / 'list.pth')
    line = stopped(run_tool, capsys, 'plain.py', tmp_path / 'list.pth', *argv, cwd=segmentor)
    assert 'holds no weights' in line


def test_scores_that_are_no_number_leave_the_data(run_tool, segmentor, tmp_path, capsys):
    def spoil(weights):
        weights['decode_head.conv_seg.bias'][0] = float('nan')

    save_weights(segmentor / 'plain.py', tmp_path / 'nan.pth', spoil)
    line = stopped(
        run_tool, capsys, 'plain.py', tmp_path / 'nan.pth', '--out', tmp_path / 'o', cwd=segmentor
    )
    assert 'NaN' in line and '0.png' in line
    content, _ = read(tmp_path / 'o')
    assert content['data'] and 'model' not in content


def test_a_folder_that_cannot_be_written(run_tool, segmentor, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    line = stopped(run_tool, capsys, 'plain.py', '--out', tmp_path / 'file', cwd=segmentor)
    assert '--out' in line and 'file' in line
    (tmp_path / 'o' / 'diagnosis.html').mkdir(parents=True)
    line = stopped(run_tool, capsys, 'plain.py', '--out', tmp_path / 'o', cwd=segmentor)
    assert 'diagnosis.html is a folder' in line


def test_an_interrupted_run_leaves_the_data(run_tool, segmentor, tmp_path, capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('lt_mm.analysis.model_statistics.ModelStatistics.process', interrupt)
    with pytest.raises(SystemExit) as caught:
        run_tool(TOOL, 'plain.py', 'plain.pth', '--out', tmp_path, cwd=segmentor)
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith('Interrupted. Run it again')
    content, _ = read(tmp_path)
    assert content['data'] and not list(tmp_path.glob('.*'))


@pytest.fixture(scope='module')
def classifier(tmp_path_factory, write_config):
    """A folder with a config of mmpretrain, six images of two classes and random weights."""
    home = tmp_path_factory.mktemp('classifier')
    write_config(home / 'tiny.py', 'tiny_classification.py', dict(cat=256, dog=256), home / 'data')
    for i in range(4):
        shutil.copy(home / 'data/cat/0.png', home / f'data/cat/more{i}.png')
    save_weights(home / 'tiny.py', home / 'tiny.pth')
    return home


def test_a_plain_classifier(run_tool, classifier):
    run_tool(TOOL, 'tiny.py', 'tiny.pth', '--out', 'out', cwd=classifier)
    content, page = read(classifier / 'out')
    assert content['task'] == 'classification' and content['unit'] == 'images'
    assert [row['train']['count'] for row in content['classes']] == [7, 3]
    assert content['model']['norms']['layer'] == 'head.fc'
    labelled = [row['model']['labelled'] for row in content['classes']]
    assert labelled == [7, 3] and content['classes'][0]['model']['feature_norm'] > 0
    assert 'regions' not in content['model']
    pairs = content['model']['worst_pairs']
    assert pairs and page.count('data:image/jpeg') == len(pairs)
    assert pairs[0]['example'].endswith('.png')


def test_a_classifier_of_another_number_of_classes(run_tool, classifier, tmp_path, capsys):
    argv = ('tiny.py', 'tiny.pth', '--out', tmp_path, '--cfg-options', 'model.head.num_classes=3')
    assert 'head.fc.weight of shape (2, 120)' in stopped(run_tool, capsys, *argv, cwd=classifier)


def test_scores_of_a_classifier_that_are_no_number(run_tool, classifier, tmp_path, capsys):
    def spoil(weights):
        weights['head.fc.bias'][:] = float('nan')

    save_weights(classifier / 'tiny.py', tmp_path / 'nan.pth', spoil)
    argv = ('tiny.py', tmp_path / 'nan.pth', '--out', tmp_path / 'o')
    assert 'NaN' in stopped(run_tool, capsys, *argv, cwd=classifier)
