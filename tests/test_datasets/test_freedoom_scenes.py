import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.utils import register_all_modules

from lt_mm.datasets import FreedoomScenesDataset, freedoom_scenes_maker
from lt_mm.datasets.freedoom_scenes_maker import (
    LEVELS,
    MERGED,
    SIZES,
    FreedoomScenesParameters,
    class_of,
    is_inside,
    make_freedoom_scenes,
    open_level,
    read_frame,
)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'tools' / 'dataset_converters' / 'freedoom_scenes.py'
MANY = dict(num_training=192, num_tuning=9, num_validation=18)


def square(low, high):
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return [
        SimpleNamespace(x1=float(a), y1=float(b), x2=float(c), y2=float(d))
        for (a, b), (c, d) in zip(corners, corners[1:] + corners[:1], strict=True)
    ]


def thing(number, name, category, x, y, angle=0.0):
    return SimpleNamespace(
        id=number, name=name, category=category, angle=angle,
        position_x=float(x), position_y=float(y), sector_id=0,
    )  # fmt: skip


class Game:
    """A room of 1000 by 1000 with three objects, drawn as blocks if the player faces them."""

    def __init__(self, wad, level, size, seed, height=128.0, hidden=False, ends_at=None):
        self.size, self.hidden, self.ends_at = size, hidden, ends_at
        self.room = SimpleNamespace(lines=square(0, 1000), floor_height=0.0, ceiling_height=height)
        names = ['DoomImp', 'RedCard' if level == 'MAP01' else 'BlueCard', 'DeadDemon']
        if wad == 'freedoom1':
            names[1] = 'TallGreenColumn'
        self.things = [
            thing(i, name, kind, 300 + 200 * i, 500)
            for i, (name, kind) in enumerate(zip(names, ['Monster', 'Key', 'Gore'], strict=True), 1)
        ]
        self.things.append(thing(4, 'DoomImpBall', 'Projectile', 500, 900))
        self.player = thing(9, 'DoomPlayer', 'Self', 10, 10)
        self.commands, self.tics, self.closed, self.shade = [], 0, False, seed % 50

    def send_game_command(self, command):
        self.commands.append(command)

    def new_episode(self):
        self.tics, self.ends_at = 0, None

    def is_episode_finished(self):
        return self.ends_at is not None and self.tics >= self.ends_at

    def make_action(self, action, tics=1):
        self.tics += tics
        self.player.angle = (self.player.angle - action[0]) % 360
        if self.commands[-1].startswith('warp'):
            x, y = self.commands[-1].split()[1:]
            self.player.position_x, self.player.position_y = float(x), float(y)

    def get_state(self):
        size = self.size
        labels = np.zeros((size.height, size.width), np.uint8)
        labels[: size.height // 4] = labels[-size.height // 4 :] = 1
        seen = []
        for each in self.things:
            direction = np.degrees(
                np.arctan2(
                    each.position_y - self.player.position_y,
                    each.position_x - self.player.position_x,
                )
            )
            left = (direction - self.player.angle + 180) % 360 - 180
            if abs(left) < 40 and not self.hidden:
                column = int(size.width * (0.5 - left / 90))
                value = 50 * each.id
                labels[40:60, max(column - 5, 0) : column + 5] = value
                seen.append(
                    SimpleNamespace(
                        value=value,
                        object_id=each.id,
                        object_name=each.name,
                        object_category=each.category,
                    )
                )
        image = np.repeat(labels[..., None], 3, axis=2) // 2 + np.uint8(50 + self.shade)
        return SimpleNamespace(
            objects=[*self.things, self.player],
            sectors=[self.room],
            labels=seen,
            labels_buffer=labels,
            screen_buffer=image,
        )

    def close(self):
        self.closed = True


class Opener:
    """Opens fake levels and remembers them."""

    def __init__(self, **kwargs):
        self.games, self.levels, self.kwargs = [], [], kwargs

    def __call__(self, wad, level, size, seed, folder):
        assert Path(folder).is_dir()
        self.levels.append((wad, level))
        self.games.append(Game(wad, level, size, seed, **self.kwargs))
        return self.games[-1]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('doom') / 'scenes'
    make_freedoom_scenes(root, FreedoomScenesParameters('small', **MANY), Opener())
    return root


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_no_level_is_in_two_splits_and_episode_4_is_in_none():
    found = [level for levels in LEVELS.values() for level in levels]
    assert len(found) == len(set(found)) == 32 + 27
    assert {wad for wad, _ in LEVELS['training']} == {'freedoom2'}
    episodes = {s: {level[:2] for _, level in LEVELS[s]} for s in ('tuning', 'validation')}
    assert not episodes['tuning'] & episodes['validation']
    assert set.union(*episodes.values()) == {'E1', 'E2', 'E3'}


def test_layout_is_that_of_ade20k_and_counts_are_those_of_the_files(root):
    info = json.loads((root / 'dataset.json').read_text())
    classes = info['classes']
    for split, number in zip(('training', 'tuning', 'validation'), (192, 9, 18), strict=True):
        paths = sorted((root / 'annotations' / split).iterdir())
        assert [p.stem for p in paths] == [f'{split}_{n:05d}' for n in range(number)]
        labels = np.stack([read(path) for path in paths])
        assert labels.shape == (number, 120, 160) and labels.dtype == np.uint8
        for index, name in enumerate(classes, 1):
            assert (labels == index).sum() == info['pixels'][split][name]
            assert (labels == index).any((1, 2)).sum() == info['frames'][split][name]
        assert (labels == 0).any() and labels.max() <= len(classes)
        for path in paths:
            assert read(root / 'images' / split / f'{path.stem}.jpg').shape == (120, 160, 3)
    pixels = list(info['pixels']['training'].values())
    assert pixels == sorted(pixels, reverse=True)


def test_what_is_left_out_merged_or_absent_is_told(root):
    info = json.loads((root / 'dataset.json').read_text())
    assert set(info['classes']) == {'wall', 'floor', 'ceiling', 'DoomImp', 'Corpse', 'Keycard'}
    assert info['absent'] == {'training': [], 'tuning': ['Keycard'], 'validation': ['Keycard']}
    assert list(info['left_out']) == ['PillarOfStone']
    assert info['left_out']['PillarOfStone']['training'] == 0
    assert info['left_out']['PillarOfStone']['validation'] > 0
    assert set(info['merged']) == {'Corpse', 'Keycard'}


def test_the_full_size_keeps_every_name_that_a_training_frame_shows(tmp_path):
    parameters = FreedoomScenesParameters('full', **MANY)
    info = make_freedoom_scenes(tmp_path / 'scenes', parameters, Opener())
    assert {'DeadDemon', 'RedCard', 'BlueCard'} < set(info['classes'])
    assert list(info['left_out']) == ['TallGreenColumn'] and info['merged'] == {}
    assert read(tmp_path / 'scenes/images/tuning/tuning_00000.jpg').shape == (240, 320, 3)


def test_the_same_seed_gives_the_same_files_and_another_does_not(root, tmp_path):
    for seed in (0, 1):
        parameters = FreedoomScenesParameters('small', seed=seed, **MANY)
        make_freedoom_scenes(tmp_path / str(seed), parameters, Opener())
    assert contents(tmp_path / '0') == contents(root)
    assert contents(tmp_path / '1') != contents(root)


def test_frames_are_shared_out_to_levels_and_games_are_closed(tmp_path):
    opener = Opener()
    parameters = FreedoomScenesParameters('full', num_training=35, num_tuning=4, num_validation=1)
    make_freedoom_scenes(tmp_path / 'scenes', parameters, opener)
    assert opener.levels == [
        *LEVELS['training'], *LEVELS['tuning'][:4], *LEVELS['validation'][:1]
    ]  # fmt: skip
    assert all(game.closed for game in opener.games)
    for game in opener.games:
        # The last one keeps the announcement of secrets out of the frames.
        assert game.commands[:4] == ['god', 'noclip', 'notarget', 'cl_showsecretmessage 0']


def test_views_are_at_the_distance_of_the_size_and_inside_the_room():
    size, game = SIZES['small'], Game('freedoom2', 'MAP02', SIZES['small'], 0)
    frames = freedoom_scenes_maker.capture_level(game, np.random.default_rng(0), 50, size)
    for frame in frames:
        x, y = game.player.position_x, game.player.position_y
        distances = [np.hypot(t.position_x - x, t.position_y - y) for t in game.things[:3]]
        assert min(distances) >= 48 and min(distances) <= 161
        assert 0 < x < 1000 and 0 < y < 1000
        assert frame.image.shape == (120, 160, 3) and len(frame.names) > 3


@pytest.mark.parametrize('kwargs', [dict(height=40.0), dict(hidden=True)])
def test_a_level_without_a_good_place_is_an_error(kwargs, tmp_path):
    opener = Opener(**kwargs)
    with pytest.raises(RuntimeError, match='400 tries'):
        make_freedoom_scenes(tmp_path / 'scenes', FreedoomScenesParameters('small'), opener)
    assert opener.games[0].closed and not any(tmp_path.iterdir())


def test_a_level_that_ends_begins_anew():
    game = Game('freedoom2', 'MAP02', SIZES['small'], 0, ends_at=30)
    rng = np.random.default_rng(0)
    frames = list(freedoom_scenes_maker.capture_level(game, rng, 20, SIZES['small']))
    assert len(frames) == 20 and game.commands.count('noclip') == 2


def test_surfaces_are_divided_by_the_horizon_and_projectiles_are_unlabelled():
    labels = np.array([[1, 0], [7, 1], [1, 0], [9, 1]], np.uint8)
    shown = [
        SimpleNamespace(value=7, object_name='Demon', object_category='Monster'),
        SimpleNamespace(value=9, object_name='Rocket', object_category='Projectile'),
    ]
    image = np.zeros((4, 2, 3), np.uint8)
    state = SimpleNamespace(labels_buffer=labels, labels=shown, screen_buffer=image)
    frame = read_frame(state)
    assert frame.names == ['wall', 'floor', 'ceiling', 'Demon']
    assert frame.owner.tolist() == [[2, 0], [3, 2], [1, 0], [-1, 1]]


def test_a_point_in_a_hole_of_a_sector_is_not_inside():
    sector = SimpleNamespace(lines=square(0, 100) + square(40, 60))
    assert is_inside(sector, 20, 20) and is_inside(sector, 20, 50)
    assert not is_inside(sector, 50, 50) and not is_inside(sector, 101, 50)


def test_rules_of_merging_do_not_overlap_but_for_stakes():
    names = {
        'DeadMarine': 'Corpse', 'GibbedMarineExtra': 'Corpse', 'DeadStick': 'ImpaledBody',
        'HeadsOnAStick': 'ImpaledBody', 'Candlestick': 'Candlestick', 'Meat2': 'HangingBody',
        'NonsolidTwitch': 'HangingBody', 'HangTSkull': 'HangingBody', 'ColonGibs': 'Remains',
        'ShortRedTorch': 'ShortTorch', 'RedTorch': 'TallTorch', 'YellowCard': 'Keycard',
        'BlueSkull': 'SkullKey', 'FloatingSkull': 'FloatingSkull', 'Column': 'Column',
        'HeartColumn': 'PillarOfStone', 'TechLamp2': 'TechLamp', 'DoomImp': 'DoomImp',
    }  # fmt: skip
    for name, merged in names.items():
        assert class_of(name, SIZES['small']) == merged
        assert class_of(name, SIZES['full']) == name
    assert set(names.values()) > set(MERGED)


def test_parameters_out_of_range_are_named():
    with pytest.raises(ValueError, match="size='tiny' is unknown: give full or small"):
        FreedoomScenesParameters('tiny')
    with pytest.raises(ValueError, match='seed=-1 is too small: give at least 0'):
        FreedoomScenesParameters(seed=-1)
    with pytest.raises(ValueError, match='num_tuning=0 is too small: give at least 1'):
        FreedoomScenesParameters(num_tuning=0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'vizdoom', None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[freedoom\]'"):
        open_level('freedoom2', 'MAP01', SIZES['small'], 0, '')


def test_an_existing_folder_is_read_or_refused(root):
    before = contents(root)
    info = make_freedoom_scenes(root, FreedoomScenesParameters('small', **MANY), open_level=None)
    assert info['parameters']['size'] == 'small'
    with pytest.raises(FileExistsError, match="size='small' instead of 'full'"):
        make_freedoom_scenes(root, FreedoomScenesParameters('full', **MANY))
    assert contents(root) == before


def test_the_tool_says_what_is_in_it(root, monkeypatch, capsys):
    options = [f'--{name.replace("_", "-")}={number}' for name, number in MANY.items()]
    monkeypatch.setattr(sys, 'argv', ['freedoom_scenes.py', str(root), '--size=small', *options])
    runpy.run_path(str(SCRIPT), run_name='__main__')
    said = capsys.readouterr().out
    assert 'training: 6 of 6 classes' in said and 'Absent: none.' in said
    assert 'validation: 5 of 6 classes' in said and 'Absent: Keycard.' in said
    assert 'Unlabelled for want of training frames: PillarOfStone.' in said


@pytest.mark.parametrize(('split', 'shape'), [('train', (96, 128)), ('test', (120, 160))])
def test_base_config_loads_every_split(root, split, shape):
    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs/_base_/datasets/freedoom_scenes.py')
    loader = config[f'{split}_dataloader']
    loader.dataset.update(data_root=str(root), indices=4)
    for sample in DATASETS.build(loader.dataset):
        assert sample['inputs'].shape == (3, *shape)
        labels = sample['data_samples'].gt_sem_seg.data
        assert labels.shape == (1, *shape)
        assert set(labels.unique().tolist()) <= {*range(6), 255}


def test_classes_are_those_of_the_folder_and_a_missing_folder_is_named(root, tmp_path):
    prefix = dict(img_path='images/tuning', seg_map_path='annotations/tuning')
    dataset = FreedoomScenesDataset(data_root=str(root), data_prefix=prefix)
    assert dataset.metainfo['classes'][0] == 'wall' and len(dataset.metainfo['classes']) == 6
    assert len({tuple(colour) for colour in dataset.metainfo['palette']}) == 6
    assert len(dataset) == 9
    with pytest.raises(FileNotFoundError, match=r'dataset\.json does not exist.*freedoom_scenes'):
        FreedoomScenesDataset(data_root=str(tmp_path), data_prefix=prefix, lazy_init=True)
