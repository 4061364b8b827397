"""Decoupled training on DigitsLT: its stages, their lengths, and what the second one trains."""

import argparse
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from lt_mm.engine.launch import load_config
from lt_mm.stages.read import read_stages

ROOT = Path(__file__).resolve().parents[2]
FIRST = dict(crt='ce', lws='ce', mislas='mixup')
CLASSIFIER = {'head.fc.weight', 'head.fc.bias'}
TRAINED = dict(
    crt=CLASSIFIER,
    lws={'head.alignment.scale'},
    mislas=CLASSIFIER | {'head.alignment.scale'},
)


@pytest.fixture
def stages(tmp_path):
    """A function: name of a method to its stages."""

    def read(name):
        path = ROOT / 'configs' / 'digits_lt' / f'{name}_resnet8_digits-lt.py'
        assert len(path.read_text().splitlines()) <= 30
        arguments = argparse.Namespace(
            config=path,
            cfg_options=None,
            variant=None,
            work_dir=str(tmp_path),
            launcher='none',
            local_rank=0,
        )
        return read_stages(load_config(arguments, ROOT), ROOT)

    return read


@pytest.mark.parametrize('name', FIRST)
def test_both_stages_are_as_long_as_one_training(stages, name):
    first, last = stages(name)
    whole = Config.fromfile(ROOT / 'configs/digits_lt/ce_resnet8_digits-lt.py')
    lengths = [stage.cfg.train_cfg.max_epochs for stage in (first, last)]
    assert lengths == [80, 20] and sum(lengths) == whole.train_cfg.max_epochs
    for stage, length in zip((first, last), lengths, strict=True):
        assert stage.cfg.param_scheduler[-1].end == length
        assert stage.cfg.param_scheduler[-1].type == 'CosineAnnealingLR'
    assert Path(first.cfg.filename).name == f'{FIRST[name]}_resnet8_digits-lt.py'
    assert ('Mixup' in first.cfg.pretty_text) == (FIRST[name] == 'mixup')
    assert 'Mixup' not in last.cfg.model
    for dataset in ('train', 'val', 'test'):
        loaders = [stage.cfg[f'{dataset}_dataloader'] for stage in (first, last)]
        assert loaders[0].dataset == loaders[1].dataset
    assert last.cfg.val_evaluator == first.cfg.val_evaluator


@pytest.mark.parametrize('name', FIRST)
def test_second_stage_trains_one_epoch(stages, name, tmp_path):
    first, last = stages(name)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    plain = MODELS.build(dict(first.cfg.model, data_preprocessor=None, train_cfg=None))
    state = plain.state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'stage1.pth')
    cfg = last.cfg
    cfg.load_from = str(tmp_path / 'stage1.pth')
    cfg.train_cfg.max_epochs = 1
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    runner.train()
    got = runner.model.state_dict()
    # head.alignment is not in the checkpoint.
    moved = {key for key, value in state.items() if not torch.equal(value, got[key])}
    weights = {key for key, _ in runner.model.named_parameters()}
    assert moved & weights == TRAINED[name] - {'head.alignment.scale'}
    assert any(key.endswith('bn1.running_mean') for key in moved)
    assert ('head.alignment.scale' in got) == (name != 'crt')
    if name != 'crt':
        assert (got['head.alignment.scale'] != 1).all()


def test_delta_w(stages):
    cfg = stages('mislas')[-1].cfg
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model))
    wrapper = Runner.build_optim_wrapper(argparse.Namespace(model=model), cfg.optim_wrapper)
    rates = {id(p): group['lr'] for group in wrapper.param_groups for p in group['params']}
    base = cfg.optim_wrapper.optimizer.lr
    assert rates[id(model.head.fc.weight)] == rates[id(model.head.fc.bias)] == 0.2 * base
    assert rates[id(model.head.alignment.scale)] == base
