"""The whole demo in small: counts, a teacher, a student, the table and three pictures."""

import json

import pytest


@pytest.mark.slow
def test_demo_leaves_a_table_and_three_pictures(tmp_path, run_tool, capfd):
    out, root = tmp_path / 'out', tmp_path / 'data' / 'scenes'
    sizes = ('num_training=6', 'num_tuning=5', 'num_validation=5')
    options = [
        f'{split}_dataloader.dataset.{setting}'
        for split in ('train', 'val')
        for setting in (f'data_root={root}', *(f'make.{size}' for size in sizes))
    ]
    options += [
        'train_cfg.max_iters=4',
        'train_cfg.val_interval=4',
        'train_dataloader.batch_size=2',
    ]
    options += ['default_hooks.logger.interval=2']
    run_tool(
        'demo.py', '--methods', 'gml-alpha1', '--out-dir', out, '--json', out / 'results.json',
        '--jobs', 2, '--cfg-options', *options, cwd=tmp_path,
    )  # fmt: skip
    printed = capfd.readouterr().out
    assert 'cross-entropy' in printed and 'GML, α = 1' in printed
    results = json.loads((out / 'results.json').read_text())
    assert [run['method'] for run in results['runs']] == ['ce', 'gml-alpha1']
    for name in ('class_counts', 'per_class', 'predictions'):
        assert (out / f'{name}.png').read_bytes().startswith(b'\x89PNG')
