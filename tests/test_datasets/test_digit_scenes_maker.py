import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image

from lt_mm.datasets import DigitScenesParameters, digit_scenes_maker, make_digit_scenes
from lt_mm.datasets.digit_scenes_maker import CLASSES, SPLITS, photograph_bands, split_handwriting

SMALL = DigitScenesParameters(num_training=30, num_tuning=5, num_validation=10, imbalance_factor=10)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('digits') / 'scenes'
    make_digit_scenes(root, SMALL)
    return root


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def annotations(root, split):
    paths = sorted((root / 'annotations' / split).iterdir())
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]


def test_layout_is_that_of_ade20k(root):
    for split, count in zip(SPLITS, (30, 5, 10), strict=True):
        images = sorted(p.stem for p in (root / 'images' / split).glob('*.jpg'))
        labels = sorted(p.stem for p in (root / 'annotations' / split).glob('*.png'))
        assert images == labels
        assert len(images) == count
        for labels in annotations(root, split):
            assert labels.shape == (96, 96)
            assert labels.dtype == np.uint8
            assert labels.max() <= len(CLASSES)
            assert (labels == 0).any()


def test_info_describes_the_data(root):
    info = json.loads((root / 'dataset.json').read_text())
    assert info['classes'] == list(CLASSES)
    assert info['parameters']['imbalance_factor'] == 10
    expected = [
        max(1, round(info['instances']['training']['digit 0'] * 10 ** (-d / 9))) for d in range(10)
    ]
    assert list(info['instances']['training'].values()) == expected
    assert list(info['instances']['tuning'].values()) == [2] * 10
    assert list(info['instances']['validation'].values()) == [4] * 10


def test_painted_instances_are_exactly_those_announced(tmp_path, monkeypatch):
    painted = []
    paint = digit_scenes_maker.paint_scene

    def spy(rng, image, labels, inks, digit_labels):
        painted.append((inks, digit_labels))
        return paint(rng, image, labels, inks, digit_labels)

    monkeypatch.setattr(digit_scenes_maker, 'paint_scene', spy)
    info = make_digit_scenes(tmp_path / 'scenes', SMALL)
    digits = load_digits()
    by_ink = {i.tobytes(): n for n, i in enumerate((digits.images / 16).astype(np.float32))}
    splits = np.split(np.arange(45), [30, 35])
    for split, numbers in zip(SPLITS, splits, strict=True):
        labels = np.concatenate([painted[n][1] for n in numbers])
        indices = [by_ink[ink.tobytes()] for n in numbers for ink in painted[n][0]]
        counts = np.bincount(labels - 3, minlength=10)
        assert counts.tolist() == list(info['instances'][split].values())
        assert sorted(set(indices)) == info['handwriting'][split]
        assert (digits.target[indices] == labels - 3).all()


def test_handwriting_is_disjoint_contiguous_and_complete():
    targets = load_digits().target
    splits = split_handwriting(targets)
    pooled = np.concatenate([pool for split in SPLITS for pool in splits[split]])
    assert sorted(pooled) == list(range(len(targets)))
    for digit in range(10):
        pools = [splits[split][digit] for split in SPLITS]
        assert all((targets[pool] == digit).all() for pool in pools)
        assert pools[0].max() < pools[1].min()
        assert pools[1].max() < pools[2].min()
        shares = [len(pool) / (targets == digit).sum() for pool in pools]
        assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.01)


def test_handwriting_used_is_disjoint_and_stays_in_its_pool(root):
    used = json.loads((root / 'dataset.json').read_text())['handwriting']
    pools = split_handwriting(load_digits().target)
    for split in SPLITS:
        assert set(used[split]) <= set(np.concatenate(pools[split]).tolist())
    assert len(set().union(*used.values())) == sum(len(used[split]) for split in SPLITS)


def test_photographs_are_cut_into_disjoint_bands():
    for number, name in enumerate(('china.jpg', 'flower.jpg')):
        bands = [photograph_bands(s)[number] for s in ('validation', 'tuning', 'training')]
        joined = np.concatenate(bands, axis=1)
        assert (joined == load_sample_image(name)[..., ::-1]).all()


def test_both_photographs_occur_equally_often(root):
    for split in SPLITS:
        shown = np.array(
            [[(labels == c).any() for c in (1, 2)] for labels in annotations(root, split)]
        )
        assert shown[:, 0].sum() == shown[:, 1].sum()
        assert shown.all(axis=1).any()


def test_same_seed_gives_the_same_bytes(root, tmp_path):
    make_digit_scenes(tmp_path / 'scenes', SMALL)
    assert contents(tmp_path / 'scenes') == contents(root)


def test_another_seed_gives_other_images(root, tmp_path):
    small = {**vars(SMALL), 'seed': 1}
    make_digit_scenes(tmp_path / 'scenes', DigitScenesParameters(**small))
    ours, theirs = contents(tmp_path / 'scenes'), contents(root)
    assert ours.keys() == theirs.keys()
    assert all(ours[path] != theirs[path] for path in ours)


def test_second_call_changes_nothing(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert make_digit_scenes(root, SMALL) == json.loads((root / 'dataset.json').read_text())
    assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before


def test_other_parameters_are_refused_by_name(root):
    other = DigitScenesParameters(**{**vars(SMALL), 'imbalance_factor': 50.0, 'seed': 3})
    with pytest.raises(
        FileExistsError, match='imbalance_factor=10.0 instead of 50.0, seed=0.* of 3'
    ):
        make_digit_scenes(root, other)


def test_a_strange_folder_is_refused(tmp_path):
    with pytest.raises(FileExistsError, match='no dataset.json'):
        make_digit_scenes(tmp_path, SMALL)


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(digit_scenes_maker, 'crop_background', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_digit_scenes(tmp_path / 'scenes', SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_loser_of_a_race_takes_what_the_winner_made(root, tmp_path, monkeypatch):
    target = tmp_path / 'scenes'
    write_split = digit_scenes_maker._write_split

    def overtaken(draft, split, parameters):
        if split == 'validation':
            shutil.copytree(root, target)
        return write_split(draft, split, parameters)

    monkeypatch.setattr(digit_scenes_maker, '_write_split', overtaken)
    make_digit_scenes(target, SMALL)
    assert contents(target) == contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ['scenes']


@pytest.mark.parametrize(
    'wrong', [{'num_tuning': 0}, {'seed': -1}, {'image_size': 32}, {'imbalance_factor': 0}]
)
def test_bad_parameters_are_named(wrong):
    with pytest.raises(ValueError, match='='.join(map(str, *wrong.items()))):
        DigitScenesParameters(**wrong)


def test_command_line_makes_the_same_data(root, tmp_path, monkeypatch, capsys):
    script = Path(__file__).parents[2] / 'tools/dataset_converters/digit_scenes.py'
    target = tmp_path / 'scenes'
    options = '--num-training 30 --num-tuning 5 --num-validation 10 --imbalance-factor 10'
    monkeypatch.setattr(sys, 'argv', [str(script), str(target), *options.split()])
    runpy.run_path(str(script), run_name='__main__')
    make_digit_scenes(target, SMALL)
    assert (target / 'annotations/tuning/tuning_00000.png').read_bytes() == (
        root / 'annotations/tuning/tuning_00000.png'
    ).read_bytes()
    assert '2 x digit 9' in capsys.readouterr().out
