"""The demo and the benchmark of the demo scenes, in small."""

import json

import pytest


def options(root):
    """Settings of scenes in small."""
    sizes = ('num_training=6', 'num_tuning=5', 'num_validation=5')
    settings = [
        f'{split}_dataloader.dataset.{setting}'
        for split in ('train', 'val')
        for setting in (f'data_root={root}', *(f'make.{size}' for size in sizes))
    ]
    return [*settings, 'train_dataloader.batch_size=2', 'default_hooks.logger.interval=2']


@pytest.mark.slow
def test_demo_compares_sweeps_and_diagnoses(tmp_path, run_tool, capfd):
    settings = options(tmp_path / 'data' / 'scenes')
    run_tool('demo.py', '--budget', 4, '--out-dir', 'out', '--cfg-options', *settings, cwd=tmp_path)
    printed = capfd.readouterr().out
    for text in ('$ tools/compare.py', 'GML', 'class-weighted', 'alpha of the model: 0', 'Look at'):
        assert text in printed
    for line in printed.partition('Look at:')[2].split():
        assert (tmp_path / line).stat().st_size > 1000


@pytest.mark.slow
def test_benchmark_leaves_a_table_and_three_pictures(tmp_path, run_tool, capfd):
    out = tmp_path / 'out'
    settings = [
        *options(tmp_path / 'data' / 'scenes'), 'train_cfg.max_iters=4', 'train_cfg.val_interval=4'
    ]  # fmt: skip
    run_tool(
        'benchmarks/digit_scenes.py', '--methods', 'gml-alpha1', '--seeds', 0, '--out-dir', out,
        '--json', out / 'results.json', '--cfg-options', *settings, cwd=tmp_path,
    )  # fmt: skip
    printed = capfd.readouterr().out
    assert 'cross-entropy' in printed and 'GML, α = 1' in printed
    results = json.loads((out / 'results.json').read_text())
    assert [run['method'] for run in results['runs']] == ['ce', 'gml-alpha1']
    for name in ('class_counts', 'per_class', 'predictions'):
        assert (out / f'{name}.png').read_bytes().startswith(b'\x89PNG')
