"""A test takes the class counts of a training from its checkpoint, for what that did without."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from lt_mm.checkpoints import read_checkpoint

HOOK = "custom_hooks = [dict(type='lt_mm.ClassCountsHook')]\n"
SEGMENTATION = HOOK + (
    "model['decode_head'].update(type='lt_mm.LongTailHead', base='FCNHead', "
    'post_compensation=dict({}))\n'
)
CLASSIFICATION = HOOK + (
    "model['head'].update(type='lt_mm.LongTailClsHead', post_compensation=dict({}))\n"
)


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory, run_tool, write_config):
    """A folder with a config of mmseg and the checkpoint of a training with cross-entropy."""
    home = tmp_path_factory.mktemp('segmentor')
    write_config(home / 'ce.py', 'tiny_segmentation.py', dict(images=256, labels=3), home / 'data')
    for path in (home / 'data' / 'labels').iterdir():
        # Class 0 is most of the pixels.
        labels = np.asarray(Image.open(path)).copy()
        labels[4:] = 0
        Image.fromarray(labels).save(path)
    (home / 'ce.py').write_text((home / 'ce.py').read_text() + HOOK)
    run_tool('train.py', 'ce.py', '--work-dir', 'w', cwd=home)
    return home, home / 'w' / 'iter_2.pth'


def classifier(home, run_tool, write_config, sampler=''):
    write_config(home / 'ce.py', 'tiny_classification.py', dict(cat=256, dog=256), home / 'data')
    for path in (home / 'data' / 'cat').glob('[12].png'):
        path.unlink()
    (home / 'ce.py').write_text((home / 'ce.py').read_text() + HOOK + sampler)
    run_tool('train.py', 'ce.py', '--work-dir', 'w', cwd=home)
    return home / 'w' / 'epoch_1.pth'


def variant(home, options, arguments=''):
    name = f'pc{len(list(home.glob("pc*.py")))}.py'
    (home / name).write_text((home / 'ce.py').read_text() + options.format(arguments))
    return name


def maps(home, run_tool, config, checkpoint, *flags):
    out = f'out_{config.removesuffix(".py")}{len(flags)}'
    run_tool('test.py', config, checkpoint, '--work-dir', 'v', '--out', out, *flags, cwd=home)
    return np.stack([np.asarray(Image.open(home / out / f'{i}.png')) for i in range(3)])


def scores(home, run_tool, config, checkpoint):
    out = f'out_{config.removesuffix(".py")}'
    run_tool('test.py', config, checkpoint, '--work-dir', 'v', '--out', out, cwd=home)
    with open(home / out / 'predictions.pkl', 'rb') as file:
        return torch.stack([sample['pred_score'] for sample in pickle.load(file)]).double()


AVERAGED = "custom_hooks.append(dict(type='EMAHook', update_buffers=True))\n"


@pytest.mark.parametrize(
    ('flags', 'more'), [([], ''), (['--tta'], ''), ([], AVERAGED)], ids=['plain', 'tta', 'averaged']
)
def test_segmentation(segmentor, run_tool, flags, more):
    home, checkpoint = segmentor
    counts = read_checkpoint(checkpoint)['meta']['class_counts']
    assert counts[0] > 5 * max(counts[1:])
    found = maps(home, run_tool, variant(home, SEGMENTATION + more), checkpoint, *flags)
    given = maps(
        home, run_tool, variant(home, SEGMENTATION, f'class_counts={counts}'), checkpoint, *flags
    )
    assert (found == given).all()
    plain = maps(home, run_tool, variant(home, SEGMENTATION, 'alpha=0'), checkpoint, *flags)
    assert (found != plain).any()


def test_the_runner_of_mmseg_alone(segmentor, forget_mmengine, monkeypatch):
    home, checkpoint = segmentor
    monkeypatch.chdir(home)
    results = []
    counts = read_checkpoint(checkpoint)['meta']['class_counts']
    for arguments in ('', f'class_counts={counts}'):
        forget_mmengine()
        cfg = Config.fromfile(variant(home, SEGMENTATION, arguments))
        cfg.update(work_dir='alone', load_from=str(checkpoint))
        results.append(Runner.from_cfg(cfg).test())
    assert results[0] == results[1]


def test_the_hook_is_asked_for_where_it_is_left_out(segmentor, run_tool):
    home, checkpoint = segmentor
    config = variant(home, SEGMENTATION + 'custom_hooks = []\n')
    with pytest.raises(RuntimeError, match=r'train and test with .*ClassCountsHook'):
        run_tool('test.py', config, checkpoint, '--work-dir', 'v', cwd=home)


def test_counts_of_the_hook_come_first_and_other_numbers_are_refused(segmentor, run_tool):
    home, checkpoint = segmentor
    given = "custom_hooks[0]['class_counts'] = {}\n"
    uniform = variant(home, SEGMENTATION + given.format([7, 7, 7]))
    plain = variant(home, SEGMENTATION, 'alpha=0')
    of_each = [maps(home, run_tool, config, checkpoint) for config in (uniform, plain)]
    assert (of_each[0] == of_each[1]).all()
    other = variant(home, SEGMENTATION + given.format([7, 7]))
    with pytest.raises(ValueError, match=r"'decode_head.*2 classes but PostCompensation has 3"):
        maps(home, run_tool, other, checkpoint)


def test_classification(run_tool, write_config, tmp_path):
    pytest.importorskip('mmpretrain')
    checkpoint = classifier(tmp_path, run_tool, write_config)
    found = scores(tmp_path, run_tool, variant(tmp_path, CLASSIFICATION), checkpoint)
    plain = scores(tmp_path, run_tool, 'ce.py', checkpoint)
    assert read_checkpoint(checkpoint)['meta']['class_counts'] == [1, 3]
    expected = plain / torch.tensor([1.0, 3])
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True), rtol=1e-5, atol=0)


def test_the_prior_is_that_of_what_the_sampler_gave(run_tool, write_config, tmp_path):
    pytest.importorskip('mmpretrain')
    sampler = "train_dataloader['sampler'] = dict(type='lt_mm.ClassAwareSampler')\n"
    checkpoint = classifier(tmp_path, run_tool, write_config, sampler)
    found = scores(tmp_path, run_tool, variant(tmp_path, CLASSIFICATION), checkpoint)
    plain = scores(tmp_path, run_tool, 'ce.py', checkpoint)
    # Each class was seen as often as any other.
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=0)
    # Even if the config of both gives the counts, which are those of the data set.
    given = "custom_hooks[0]['class_counts'] = [1, 3]\n"
    found = scores(tmp_path, run_tool, variant(tmp_path, CLASSIFICATION + given), checkpoint)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=0)
    ignored = "custom_hooks[0]['sampler_prior'] = False\n"
    found = scores(tmp_path, run_tool, variant(tmp_path, CLASSIFICATION + ignored), checkpoint)
    assert (found[:, 0] > plain[:, 0]).all()
