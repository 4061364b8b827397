"""tools/misc/browse_dataset.py: what sampler and pipeline yield, counted once more here."""

import csv

import numpy as np
import pytest
from PIL import Image

TOOL = 'misc/browse_dataset.py'
SCENES = 'configs/digit_scenes/ce_fcn_r18_digits.py'
DIGITS = 'configs/digits_lt/class-balanced-sampler_resnet8_digits-lt.py'


def shares_of(folder):
    with (folder / 'class_frequencies.csv').open() as file:
        head, *rows = csv.reader(file)
    return {
        name: np.array(values, float) for name, *values in zip(head[1:], *(r[1:] for r in rows))
    }


def test_what_is_yielded_of_a_plain_segmentor(run_tool, trained, tmp_path, capsys):
    config = trained / 'configs' / 'tiny.py'
    run_tool(TOOL, config, '-o', 'out', '-n', 2, '--samples', 3, cwd=tmp_path)
    shares = shares_of(tmp_path / 'out')
    assert list(shares) == ['data set', 'yielded']
    files = sorted((trained / 'data' / 'labels').glob('*.png'))
    pixels = sum(np.bincount(np.asarray(Image.open(f)).ravel(), minlength=3) for f in files)
    # The pipeline leaves the images whole, and a pass has each of them once.
    for values in shares.values():
        np.testing.assert_allclose(values, pixels / pixels.sum(), rtol=1e-12)
    assert '3 samples, % of their pixels' in capsys.readouterr().out
    for name in ('samples.png', 'class_frequencies.png'):
        assert Image.open(tmp_path / 'out' / name).size[0] > 200


def test_a_crop_is_seen(run_tool, trained, tmp_path):
    config = tmp_path / 'cropped.py'
    config.write_text(
        f'_base_ = {str(trained / "configs" / "tiny.py")!r}\n'
        "pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),\n"
        "    dict(type='RandomCrop', crop_size=(4, 4)), dict(type='PackSegInputs')]\n"
        'train_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    run_tool(TOOL, config, '-o', 'out', '--samples', 1, cwd=tmp_path)
    yielded = shares_of(tmp_path / 'out')['yielded'] * 16
    np.testing.assert_allclose(yielded, yielded.round(), atol=1e-9)


def test_a_sampler_stands_beside_the_prior_that_it_tells(run_tool, tmp_path, capsys):
    run_tool(TOOL, DIGITS, '-o', 'out', '--samples', 2000, cwd=tmp_path)
    shares = shares_of(tmp_path / 'out')
    np.testing.assert_allclose(shares['prior'], np.full(10, 0.1))
    assert shares['data set'].max() > 0.3
    # Six standard deviations of a share of 2000.
    assert np.abs(shares['yielded'] - 0.1).max() < 6 * np.sqrt(0.09 / 2000)
    assert '| digit 0 |     36.3 |    10 |' in capsys.readouterr().out


def test_views_other_phases_and_soft_labels(run_tool, tmp_path):
    views = 'configs/digits_lt/bcl_resnet8_digits-lt.py'
    run_tool(TOOL, views, '-o', 'views', '-n', 6, '--samples', 6, cwd=tmp_path)
    run_tool(TOOL, views, '-o', 'one', '-n', 6, '--samples', 6, '-p', 'test', cwd=tmp_path)
    heights = [Image.open(tmp_path / name / 'samples.png').size[1] for name in ('views', 'one')]
    # Three views stand beside each other.
    assert heights[0] < heights[1]


def test_the_same_seed_shows_the_same(run_tool, tmp_path):
    for out, seed in (('a', 0), ('b', 0), ('c', 1)):
        argv = ('-o', out, '--samples', 5, '-n', 5, '--seed', seed)
        run_tool(TOOL, DIGITS, *argv, cwd=tmp_path)
    a, b, c = ((tmp_path / out / 'samples.png').read_bytes() for out in 'abc')
    assert a == b != c


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (('-n', '0'), '--show-number 0 is no number of images'),
        (('--cfg-options', 'val_dataloader=None', '-p', 'val'), 'it has no val_dataloader'),
        (('--cfg-options', 'train_dataloader.dataset.data_root=nowhere'), 'data_root'),
    ],
)
def test_what_is_wrong_is_said(run_tool, trained, tmp_path, capsys, argv, told):
    with pytest.raises(SystemExit, match='2'):
        run_tool(TOOL, trained / 'configs' / 'tiny.py', *argv, cwd=tmp_path)
    assert told in capsys.readouterr().err


def test_labels_that_are_no_classes_and_none_at_all(run_tool, trained, tmp_path, capsys):
    config = tmp_path / 'bad.py'
    for text, told in (
        ("metainfo=dict(classes=('sky', 'road'))", 'classes'),
        ("pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]", 'Load'),
    ):
        config.write_text(
            f'_base_ = {str(trained / "configs" / "tiny.py")!r}\n'
            f'train_dataloader = dict(dataset=dict({text}))\n'
        )
        with pytest.raises(SystemExit, match='2'):
            run_tool(TOOL, config, cwd=tmp_path)
        assert told in capsys.readouterr().err
