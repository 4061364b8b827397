"""dist_train.sh and dist_test.sh with two processes, which share the CPU where there is no GPU."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.distributed.elastic.utils.distributed import get_free_port

pytestmark = pytest.mark.slow

CONFIG = 'digit_scenes/gml_fcn_r18_digits_no-teacher.py'
FAILING_HOOK = """
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class FailOnTheLastRank(Hook):
    def after_train_iter(self, runner, batch_idx, **kwargs):
        if get_rank() == 1:
            raise RuntimeError('the last rank failed')
"""


@pytest.fixture(scope='module')
def shell(tools):
    """Run a shell script with two processes on the CPU; fail if it hangs."""

    def run(name, *argv, cwd):
        mine = dict(PYTHON=sys.executable, PORT=str(get_free_port()), CUDA_VISIBLE_DEVICES='')
        return subprocess.run(
            [tools / name, *map(str, argv)],
            cwd=cwd,
            env={**os.environ, 'PYTHONPATH': str(cwd), **mine},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope='module')
def demo(tmp_path_factory, shell, tools):
    """A folder with a GML model trained by two processes, the options used, and the output."""
    home = tmp_path_factory.mktemp('demo')
    sizes = ('num_training=6', 'num_tuning=5', 'num_validation=5')
    options = [
        f'{loader}_dataloader.dataset.{setting}'
        for loader in ('train', 'val', 'test')
        for setting in (f'data_root={home / "scenes"}', *(f'make.{size}' for size in sizes))
    ]
    options += ['train_dataloader.batch_size=2', 'val_dataloader.batch_size=1']
    options += ['train_cfg.max_iters=3', 'train_cfg.val_interval=3']
    done = shell(
        'dist_train.sh', tools.parent / 'configs' / CONFIG, 2, '--work-dir', 'run',
        '--cfg-options', *options, 'default_hooks.logger.interval=1', cwd=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return home, options, done.stdout


def test_two_processes_train(demo):
    home, _, output = demo
    assert 'Distributed training: True' in output and 'GPU number: 2' in output
    assert output.count('SyncBatchNorm layers are reverted') == 1
    checkpoint = torch.load(home / 'run' / 'iter_3.pth', weights_only=False)
    state = checkpoint['state_dict']
    assert checkpoint['meta']['iter'] == 3
    assert not any(name.startswith('module.') for name in state)
    assert state['decode_head.contrast.queue.filled'].sum() > 0
    assert (state['backbone.stem.1.running_var'] != 1).any()


def metrics(work_dir):
    """The metrics of the latest validation or test that was run in this folder."""
    files = sorted(work_dir.glob('*/*.json')) + sorted(work_dir.glob('*/vis_data/*.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = [line for line in lines if 'mIoU' in line][-1]
    return {name: value for name, value in found.items() if name.endswith(('Acc', 'IoU'))}


def test_two_processes_test_as_one(demo, shell, tools, run_tool):
    home, options, _ = demo
    given = (tools.parent / 'configs' / CONFIG, home / 'run' / 'iter_3.pth')
    done = shell(
        'dist_test.sh', *given, 2, '--work-dir', 'two', '--cfg-options', *options, cwd=home
    )
    assert done.returncode == 0, done.stdout
    run_tool('test.py', *given, '--work-dir', 'one', '--cfg-options', *options, cwd=home)
    expected = metrics(home / 'one')
    assert len(expected) >= 9 and expected['aAcc'] > 0
    assert metrics(home / 'two') == expected
    # Validation in both processes saw the model that was saved.
    assert metrics(home / 'run') == expected


def test_one_failing_process_fails_the_command(shell, trained, tmp_path):
    (tmp_path / 'failing_hook.py').write_text(FAILING_HOOK)
    config = tmp_path / 'failing.py'
    config.write_text(
        (trained / 'configs' / 'tiny.py').read_text()
        + "custom_imports = dict(imports=['failing_hook'])\n"
        + "custom_hooks = [dict(type='FailOnTheLastRank')]\n"
    )
    done = shell('dist_train.sh', config, 2, cwd=tmp_path)
    assert done.returncode != 0
    assert 'the last rank failed' in done.stdout
