"""Curves are read over resumed runs, and drawn."""

import json

import pytest

from lt_mm.visualization.training_curve import plot_training_curves, read_curve


def write_log(folder, start, rows):
    path = folder / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(row) for row in rows))


def test_a_resumed_run_is_one_curve(tmp_path):
    write_log(tmp_path, '20250101_000000', [dict(step=s, loss=1.0 * s, lr=1) for s in (10, 20, 30)])
    write_log(tmp_path, '20250102_000000', [dict(step=s, loss=2.0 * s) for s in (30, 40)])
    write_log(tmp_path, '20250103_000000', [dict(step=40, mIoU=5.0)])
    expected = [(10, 10.0), (20, 20.0), (30, 60.0), (40, 80.0)]
    assert read_curve(tmp_path, 'loss') == expected


def test_missing_log_and_missing_key(tmp_path):
    with pytest.raises(FileNotFoundError, match='give the work dir of a training run'):
        read_curve(tmp_path, 'loss')
    write_log(tmp_path, 'a', [dict(step=1, loss=1.0)])
    with pytest.raises(KeyError, match="'tau' is not in the log.*it has loss, step"):
        read_curve(tmp_path, 'tau')


def test_every_run_is_drawn(tmp_path):
    one = plot_training_curves({'a': [(1, 1.0), (2, 2.0)]}, 'y', tmp_path / 'new' / 'one.png')
    curves = {'a': [(1, 1.0), (2, 2.0)], 'b': [(1, 2.0), (2, 0.5)]}
    two = plot_training_curves(curves, 'y', tmp_path / 'two.png')
    assert one.stat().st_size > 1000 and one.read_bytes() != two.read_bytes()
