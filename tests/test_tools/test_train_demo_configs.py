"""tools/train.py on the demo configs: a teacher, then its student, for a few iterations."""

import pytest
import torch

SMALL = [
    'train_cfg.max_iters=3',
    'train_cfg.val_interval=3',
    'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
]


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'scenes'
    sizes = [
        f'{loader}.dataset.make.{size}'
        for loader in ('train_dataloader', 'val_dataloader')
        for size in ('num_training=6', 'num_tuning=5', 'num_validation=5')
    ]
    roots = [f'{x}_dataloader.dataset.data_root={root}' for x in ('train', 'val')]
    return [*SMALL, *sizes, *roots]


@pytest.fixture(scope='module')
def teacher(tmp_path_factory, run_tool, tools, options):
    home = tmp_path_factory.mktemp('teacher')
    config = tools.parent / 'configs/digit_scenes/ce_fcn_r18_digits.py'
    run_tool('train.py', config, '--work-dir', home, '--cfg-options', *options, cwd=home)
    return home / 'iter_3.pth'


@pytest.mark.parametrize(
    ('name', 'variant'),
    [('gml_fcn_r18_digits', []), ('gml_fcn_r18_digits_no-teacher', ['--variant', 'alpha1'])],
)
def test_gml_trains_and_evaluates(name, variant, tmp_path, run_tool, tools, options, teacher):
    extra = [] if 'no-teacher' in name else [f'model.teacher.checkpoint={teacher}']
    csv = tmp_path / 'per_class.csv'
    run_tool(
        'train.py', tools.parent / f'configs/digit_scenes/{name}.py', *variant,
        '--work-dir', tmp_path / 'run', '--cfg-options', *options, *extra,
        f'val_evaluator.output_csv={csv}', cwd=tmp_path,
    )  # fmt: skip
    state = torch.load(tmp_path / 'run' / 'iter_3.pth', weights_only=False)['state_dict']
    assert state['decode_head.contrast.queue.filled'].sum() > 0
    assert state['decode_head.contrast.class_counts.counts'].sum() > 0
    assert not any('teacher' in name for name in state)
    assert len(csv.read_text().splitlines()) == 13


@pytest.mark.parametrize('name', ['mutual_fcn_r18_digits', 'sade_fcn_r18_digits'])
def test_experts_train_and_evaluate(name, tmp_path, run_tool, tools, options):
    csv = tmp_path / 'per_class.csv'
    run_tool(
        'train.py', tools.parent / f'configs/digit_scenes/{name}.py',
        '--work-dir', tmp_path / 'run', '--cfg-options', *options,
        f'val_evaluator.output_csv={csv}', cwd=tmp_path,
    )  # fmt: skip
    state = torch.load(tmp_path / 'run' / 'iter_3.pth', weights_only=False)['state_dict']
    assert state['decode_head.expert_weights'].unique().numel() == 1
    prior = 'post_compensation' if 'mutual' in name else 'experts.2.loss_decode'
    assert state[f'decode_head.{prior}.class_counts.counts'].sum() > 0
    assert len(csv.read_text().splitlines()) == 13
