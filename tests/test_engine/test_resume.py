"""tools/train.py killed and resumed ends with the very numbers of a run left alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['seen'])
custom_hooks = [dict(type='lt_mm.ClassCountsHook'), {hook} dict(type='Seen')]
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10, max_keep_ckpts=-1))
train_cfg = dict(max_iters=20, val_interval=5)
"""
# Writes down which images were seen and what was left of them after random transforms.
SEEN = """
import json
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Seen(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        paths = [sample.img_path for sample in data_batch['data_samples']]
        sums = [int(image.long().sum()) for image in data_batch['inputs']]
        with open(f'{runner.work_dir}/seen.jsonl', 'a') as file:
            print(json.dumps([runner.iter, paths, sums]), file=file)
"""
TRAINABLE = 'model.decode_head.contrast.trainable_temperature=True'


class Tool:
    """tools/train.py on one config, with the demo data set made small."""

    def __init__(self, home, config, options=()):
        self.home = home
        (home / 'seen.py').write_text(SEEN)
        for name, hook in (('config', "dict(type='lt_mm.RandomStateHook'),"), ('unaided', '')):
            text = CONFIG.format(base=str(ROOT / 'configs' / f'{config}.py'), hook=hook)
            (home / f'{name}.py').write_text(text)
        loaders = [f'{loader}_dataloader.dataset' for loader in ('train', 'val')]
        sizes = ('make.num_training=6', 'make.num_tuning=5', 'make.num_validation=5')
        self.options = [
            *options, 'train_dataloader.batch_size=2',
            *(f'{loader}.{size}' for loader in loaders for size in sizes),
            *(f'{loader}.data_root={home / "scenes"}' for loader in loaders),
        ]  # fmt: skip

    def command(self, work_dir, *arguments, config='config', options=()):
        config = self.home / f'{config}.py'
        return [
            sys.executable, str(ROOT / 'tools' / 'train.py'), str(config), *arguments,
            '--work-dir', str(self.home / work_dir), '--cfg-options', *self.options, *options,
        ]  # fmt: skip

    def start(self, *args, **kwargs):
        path = os.pathsep.join([str(self.home), os.environ.get('PYTHONPATH', '')])
        return subprocess.Popen(
            self.command(*args, **kwargs),
            cwd=self.home,
            env={**os.environ, 'PYTHONPATH': path, 'CUDA_VISIBLE_DEVICES': ''},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *args, **kwargs):
        process = self.start(*args, **kwargs)
        output, _ = process.communicate()
        assert process.returncode == 0, output[-3000:]

    def run_until_killed(self, *args, **kwargs):
        process = self.start(*args, **kwargs)
        for line in process.stdout:
            if re.search(r'Iter\(train\) \[ *12/20\]', line):
                process.kill()
        assert process.wait() == -signal.SIGKILL

    def result(self, work_dir):
        checkpoint = torch.load(self.home / work_dir / 'iter_20.pth', weights_only=False)
        kept = ('state_dict', 'optimizer', 'param_schedulers', 'random_states')
        return {name: checkpoint[name] for name in kept if name in checkpoint}

    def seen(self, work_dir):
        """What was seen at each iteration, the last time it was run."""
        lines = (self.home / work_dir / 'seen.jsonl').read_text().splitlines()
        return {iteration: rest for iteration, *rest in map(json.loads, lines)}


def differences(left, right, path=''):
    """The paths at which two nested structures are not equal bit for bit."""
    assert type(left) is type(right), path
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        return [d for k in left for d in differences(left[k], right[k], f'{path}/{k}')]
    if isinstance(left, (list, tuple)):
        assert len(left) == len(right), path
        pairs = enumerate(zip(left, right))
        return [d for i, (a, b) in pairs for d in differences(a, b, f'{path}/{i}')]
    equal = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
    return [] if equal else [path]


def check_resume(tool):
    """Run on, and kill and resume: the same. The seed is given at the start alone."""
    seed = ['randomness.seed=3']
    tool.run('straight', options=seed)
    tool.run_until_killed('killed', options=seed)
    assert (tool.home / 'killed' / 'last_checkpoint').read_text().endswith('iter_10.pth')
    assert len(tool.seen('killed')) >= 12
    shutil.copytree(tool.home / 'killed', tool.home / 'unaided')
    tool.run('killed', '--resume')
    straight, resumed = tool.result('straight'), tool.result('killed')
    assert tool.seen('straight') == tool.seen('killed')
    assert differences(straight, resumed) == []
    return straight


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_one_left_alone(tmp_path):
    tool = Tool(tmp_path, 'digit_scenes/gml_fcn_r18_digits_no-teacher', [TRAINABLE])
    straight = check_resume(tool)
    head = 'decode_head.contrast'
    for name in ('queue.features', 'queue.positions', 'class_counts.counts', 'log_temperature'):
        assert straight['state_dict'][f'{head}.{name}'].any()
    tool.run('unaided', '--resume', config='unaided', options=['randomness.seed=3'])
    unaided = tool.result('unaided')
    different = differences({**straight, 'random_states': 0}, {**unaided, 'random_states': 0})
    assert f'/state_dict/{head}.queue.features' in different
    paths = [{i: seen[0] for i, seen in tool.seen(run).items()} for run in ('straight', 'unaided')]
    assert paths[0] == paths[1]
    assert tool.seen('straight') != tool.seen('unaided')


@pytest.mark.slow
def test_with_a_teacher_and_data_loader_workers(tmp_path):
    teacher = Tool(tmp_path, 'digit_scenes/ce_fcn_r18_digits', ['train_cfg.max_iters=1'])
    teacher.run('teacher')
    options = [
        f'model.teacher.checkpoint={tmp_path / "teacher" / "iter_1.pth"}',
        'train_dataloader.num_workers=2',
        'train_dataloader.persistent_workers=True',
    ]
    straight = check_resume(Tool(tmp_path, 'digit_scenes/gml_fcn_r18_digits', options))
    assert not any('teacher' in name for name in straight['state_dict'])
