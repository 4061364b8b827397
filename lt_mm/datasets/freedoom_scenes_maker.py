"""Renders the levels of Freedoom with a label for every pixel, in ADE20K's layout."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import Progress

from lt_mm.datasets.digit_scenes_maker import INFO_FILE, SPLITS, new_folder, read_info

GENERATOR_VERSION = 2
SURFACES = ('wall', 'floor', 'ceiling')
"""What is no object. The renderer labels floor and ceiling alike, but where the view is level, the
horizon divides them; an open sky is drawn, and labelled, as wall."""

LEVELS = {
    'training': [('freedoom2', f'MAP{number:02d}') for number in range(1, 33)],
    'tuning': [('freedoom1', f'E2M{number}') for number in range(1, 10)],
    'validation': [('freedoom1', f'E{part}M{n}') for part in (1, 3) for n in range(1, 10)],
}
"""Game and level that the frames of each split come from. Episode 4 of freedoom1 is in no split."""

CATEGORIES = (
    'Ammo', 'Armor', 'Decoration', 'Gibs', 'Gore', 'Hazard', 'Health', 'Key', 'LightSource',
    'Monster', 'Powerup', 'Vegetation', 'Weapon',
)  # fmt: skip
"""What authors of levels place. Other objects, such as projectiles and smoke, are unlabelled."""

MERGED = {
    'Corpse': r'Dead(?!Stick)\w+|Gibbed\w+',
    'HangingBody': r'Hang\w+|(Nonsolid)?Meat\d|(Nonsolid|Bloody)Twitch',
    'ImpaledBody': r'\w+Stick',
    'Remains': r'(Colon)?Gibs|BrainStem|SmallBloodPool',
    'ShortTorch': r'Short\w+Torch',
    'TallTorch': r'(Red|Green|Blue)Torch',
    'Keycard': r'(Red|Yellow|Blue)Card',
    'SkullKey': r'(Red|Yellow|Blue)Skull',
    'PillarOfStone': r'(Tall|Short|Heart|Skull)\w*Column',
    'TechLamp': r'TechLamp2?',
}
"""Rule of the small size: names that match as a whole become one class. They are the dead in
different poses, and one thing in different colours or heights."""

CLEARANCE = 48.0
"""Distance to the nearest object in map units: the player picks up what he comes closer to."""

HEADROOM = 56.0
"""Height of the player in map units."""

LARGEST_SWING = 25.0
"""Degrees that the object a frame is for lies beside its middle, at most; the view is 90 wide."""

FEWEST_PIXELS = 12
"""Of the object that a frame is for, at 160x120: what shows less is behind something."""

DARKEST = 16.0
"""Mean of a frame in [0, 255]."""

MOST_TRIES = 400


@dataclass(frozen=True)
class Size:
    """What a size of the data set sets.

    Attributes:
        width (int): Of the frames, in pixels.
        height (int): Of the frames, in pixels.
        distances (tuple[float, float]): Of the view from the object that it is for, in map units.
        merges (bool): Whether names are merged by :data:`MERGED`.
        by_class (bool): Whether a frame is for a class of the level, each as often, of which an
            object is drawn, rather than for any object of the level.
        min_frames (int): Training frames that show a class, at least.
    """

    width: int
    height: int
    distances: tuple[float, float]
    merges: bool
    by_class: bool
    min_frames: int


SIZES = {
    'full': Size(320, 240, (64.0, 320.0), merges=False, by_class=False, min_frames=1),
    'small': Size(160, 120, (56.0, 120.0), merges=True, by_class=True, min_frames=60),
}


@dataclass(frozen=True)
class FreedoomScenesParameters:
    """Everything that the content of the data set depends on, beside the version of vizdoom.

    Args:
        size (str): ``'full'``: 320x240 and every class, for GPUs. ``'small'``: 160x120, nearer
            views, rare variants merged and classes with few training frames left out, for CPUs.
        seed (int): Seed; the same parameters give the same files, byte for byte.
        num_training (int): Training images.
        num_tuning (int): Images to choose hyper-parameters on.
        num_validation (int): Images to report results on.

    Raises:
        ValueError: If a value is out of its range.
    """

    size: str = field(default='full', metadata={'help': f'{" or ".join(SIZES)}'})
    seed: int = field(default=0, metadata={'help': 'the same seed gives the same files'})
    num_training: int = field(default=3200, metadata={'help': 'training images'})
    num_tuning: int = field(default=450, metadata={'help': 'images to choose parameters on'})
    num_validation: int = field(default=900, metadata={'help': 'images to report results on'})

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f'size={self.size!r} is unknown: give {" or ".join(SIZES)}.')
        for name in ('seed', *(f'num_{split}' for split in SPLITS)):
            if getattr(self, name) < (bound := int(name != 'seed')):
                raise ValueError(
                    f'{name}={getattr(self, name)} is too small: give at least {bound}.'
                )


def open_level(game: str, level: str, size: Size, seed: int, folder: str) -> Any:
    """Start a level without anything on the screen that is not of the level.

    Args:
        game (str): ``'freedoom1'`` or ``'freedoom2'``.
        level (str): Name of the level, such as ``'MAP01'``.
        size (Size): Size of the frames.
        seed (int): Seed of the game.
        folder (str): Empty folder where the engine leaves its settings.

    Returns:
        vizdoom.DoomGame: The running game, at the beginning of the level.

    Raises:
        ModuleNotFoundError: If vizdoom is not installed.
    """
    try:
        import vizdoom
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Freedoom scenes need vizdoom, which is not installed: pip install -e '.[freedoom]'."
        ) from error
    doom = vizdoom.DoomGame()
    doom.set_doom_game_path(str(Path(vizdoom.__file__).parent / f'{game}.wad'))
    doom.set_doom_map(level)
    # Ultra-violence has the most monsters.
    doom.set_doom_skill(4)
    doom.set_seed(seed)
    doom.set_screen_resolution(getattr(vizdoom.ScreenResolution, f'RES_{size.width}X{size.height}'))
    doom.set_screen_format(vizdoom.ScreenFormat.BGR24)
    for part in ('hud', 'weapon', 'messages', 'particles', 'screen_flashes', 'crosshair', 'decals'):
        getattr(doom, f'set_render_{part}')(False)
    doom.set_labels_buffer_enabled(True)
    doom.set_objects_info_enabled(True)
    doom.set_sectors_info_enabled(True)
    doom.set_window_visible(False)
    doom.set_sound_enabled(False)
    doom.set_mode(vizdoom.Mode.PLAYER)
    doom.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
    doom.set_episode_timeout(0)
    doom.set_doom_config_path(str(Path(folder) / 'vizdoom.ini'))
    # The engine also leaves a folder in the one that it starts in.
    here = os.getcwd()
    os.chdir(folder)
    try:
        doom.init()
    finally:
        os.chdir(here)
    return doom


@dataclass(frozen=True)
class Frame:
    """One view of a level.

    Attributes:
        image (np.ndarray): BGR, uint8, shape (H, W, 3).
        names (list[str]): :data:`SURFACES`, then the name of each object in view.
        owner (np.ndarray): Index into ``names`` of what each pixel shows, -1 where that is no
            class, int64, shape (H, W).
    """

    image: np.ndarray
    names: list[str]
    owner: np.ndarray


def is_inside(sector: Any, x: float, y: float) -> bool:
    """Whether a point lies in a sector, by the parity of the lines to its right.

    Args:
        sector (vizdoom.Sector): The sector.
        x (float): In map units.
        y (float): In map units.

    Returns:
        bool: False outside, which is inside a wall if no other sector has the point.
    """
    crossings = 0
    for line in sector.lines:
        if (line.y1 > y) != (line.y2 > y):
            share = (y - line.y1) / (line.y2 - line.y1)
            crossings += line.x1 + share * (line.x2 - line.x1) > x
    return crossings % 2 == 1


def read_frame(state: Any) -> Frame:
    """Read image and labels of a state of the game.

    Args:
        state (vizdoom.GameState): The state, seen by a player who looks straight ahead.

    Returns:
        Frame: What is in view.
    """
    raw = state.labels_buffer
    owner = np.full(raw.shape, -1)
    owner[raw == 0] = SURFACES.index('wall')
    flat, horizon = raw == 1, raw.shape[0] // 2
    owner[horizon:][flat[horizon:]] = SURFACES.index('floor')
    owner[:horizon][flat[:horizon]] = SURFACES.index('ceiling')
    names = list(SURFACES)
    for label in state.labels:
        if label.object_category in CATEGORIES:
            owner[raw == label.value] = len(names)
            names.append(label.object_name)
    return Frame(state.screen_buffer.copy(), names, owner)


def _begin(game: Any) -> None:
    # A secret would be announced in the middle of the frame although messages are off.
    for command in ('god', 'noclip', 'notarget', 'cl_showsecretmessage 0'):
        game.send_game_command(command)
    # For about half a second after his arrival a player cannot turn.
    game.make_action([0.0], 20)


def _player(state: Any) -> Any:
    return next(thing for thing in state.objects if thing.name == 'DoomPlayer')


def _look(game: Any, rng: np.random.Generator, size: Size) -> Frame | None:
    """Go beside a random object and look at it; None if the place or the view is no good."""
    things = [thing for thing in game.get_state().objects if thing.category in CATEGORIES]
    candidates = things
    if size.by_class:
        classes = sorted({class_of(each.name, size) for each in things})
        chosen = classes[rng.integers(len(classes))]
        candidates = [each for each in things if class_of(each.name, size) == chosen]
    thing = candidates[rng.integers(len(candidates))]
    direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*size.distances)
    swing = rng.uniform(-LARGEST_SWING, LARGEST_SWING)
    x = round(thing.position_x + distance * np.cos(direction))
    y = round(thing.position_y + distance * np.sin(direction))
    if any(np.hypot(o.position_x - x, o.position_y - y) < CLEARANCE for o in things):
        return None
    game.send_game_command(f'warp {x} {y}')
    game.make_action([0.0], 1)
    if game.is_episode_finished():
        return None
    state = game.get_state()
    player = _player(state)
    sector = state.sectors[player.sector_id]
    if not is_inside(sector, x, y) or sector.ceiling_height - sector.floor_height < HEADROOM:
        return None
    wanted = np.degrees(np.arctan2(thing.position_y - y, thing.position_x - x)) + swing
    # The game turns to the right, angles grow to the left.
    game.make_action([(player.angle - wanted + 180) % 360 - 180], 1)
    if game.is_episode_finished():
        return None
    state = game.get_state()
    player = _player(state)
    missed = abs((player.angle - wanted + 180) % 360 - 180)
    if missed > 1 or max(abs(player.position_x - x), abs(player.position_y - y)) > 1:
        return None
    seen = [label.value for label in state.labels if label.object_id == thing.id]
    fewest = FEWEST_PIXELS * size.width * size.height / (160 * 120)
    if len({label.value for label in state.labels}) < len(state.labels) or not seen:
        return None
    if np.isin(state.labels_buffer, seen).sum() < fewest or state.screen_buffer.mean() < DARKEST:
        return None
    return read_frame(state)


def capture_level(game: Any, rng: np.random.Generator, count: int, size: Size) -> Iterator[Frame]:
    """Take frames beside random objects of a level.

    Args:
        game (vizdoom.DoomGame): The game, at the beginning of the level.
        rng (np.random.Generator): Source of randomness.
        count (int): Frames to take.
        size (Size): Size of the data set.

    Yields:
        Frame: ``count`` frames.

    Raises:
        RuntimeError: If no place that is good is found.
    """
    _begin(game)
    for _ in range(count):
        for _ in range(MOST_TRIES):
            if game.is_episode_finished():
                game.new_episode()
                _begin(game)
            frame = _look(game, rng, size)
            if frame is not None:
                yield frame
                break
        else:
            raise RuntimeError(f'No object of the level was in view in {MOST_TRIES} tries.')


def class_of(name: str, size: Size) -> str:
    """Return the class of an object's name, another name only if the size merges."""
    if size.merges:
        for merged, pattern in MERGED.items():
            if re.fullmatch(pattern, name):
                return merged
    return name


def make_freedoom_scenes(
    root: str | Path,
    parameters: FreedoomScenesParameters | None = None,
    open_level: Callable = open_level,
) -> dict:
    """Make the data set unless it is there already.

    It is written beside ``root`` and renamed into place, so ``root`` is never half a data set.

    Args:
        root (str | Path): Folder to make.
        parameters (FreedoomScenesParameters, optional): What to make. Defaults to
            ``FreedoomScenesParameters()``.
        open_level (Callable): What starts a level. Defaults to :func:`open_level`.

    Returns:
        dict: Content of ``root/dataset.json``: ``parameters``; ``classes`` by falling number of
        training pixels; for each split ``pixels`` and ``frames`` of each class and the classes
        that are ``absent``; ``merged``, the names of each class that has several; ``left_out``,
        names that are unlabelled, with the frames of each split; ``sources``.

    Raises:
        FileExistsError: If ``root`` exists with other parameters or is something else.
        ModuleNotFoundError: If vizdoom is needed and not installed.
    """
    root, parameters = Path(root), parameters or FreedoomScenesParameters()
    wanted = {**asdict(parameters), 'generator_version': GENERATOR_VERSION}
    if root.exists():
        return read_info(root, wanted)
    with new_folder(root) as draft:
        names: list[str] = []
        counts = {s: _write_split(draft, s, parameters, names, open_level) for s in SPLITS}
        info = {'parameters': wanted, **_choose_classes(names, counts, SIZES[parameters.size])}
        _renumber(draft, names, info)
        (draft / INFO_FILE).write_text(json.dumps(info, indent=1) + '\n')
    return read_info(root, wanted)


def _write_split(
    root: Path,
    split: str,
    parameters: FreedoomScenesParameters,
    names: list[str],
    open_level: Callable,
) -> np.ndarray:
    """Write a split with provisional labels, the place in ``names``, which grows, plus 1.

    Returns:
        np.ndarray: Pixels of each name in each frame, int64, shape (frames, 255).
    """
    size, levels = SIZES[parameters.size], LEVELS[split]
    image_dir, label_dir = root / 'images' / split, root / 'annotations' / split
    image_dir.mkdir(parents=True)
    label_dir.mkdir(parents=True)
    total, pixels = getattr(parameters, f'num_{split}'), []
    with Progress() as progress:
        task = progress.add_task(f'freedoom scenes, {split}', total=total)
        for number, (wad, level) in enumerate(levels):
            count = total // len(levels) + (number < total % len(levels))
            if not count:
                break
            rng = np.random.default_rng([parameters.seed, SPLITS.index(split), number])
            seed = int(rng.integers(2**31))
            with tempfile.TemporaryDirectory() as folder:
                game = open_level(wad, level, size, seed, folder)
                try:
                    for frame in capture_level(game, rng, count, size):
                        labels = _number(frame, names, size)
                        stem = f'{split}_{len(pixels):05d}'
                        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
                        cv2.imwrite(str(image_dir / f'{stem}.jpg'), frame.image, quality)
                        cv2.imwrite(str(label_dir / f'{stem}.png'), labels)
                        pixels.append(np.bincount(labels.ravel(), minlength=256)[1:])
                        progress.advance(task)
                finally:
                    game.close()
    return np.array(pixels)


def _number(frame: Frame, names: list[str], size: Size) -> np.ndarray:
    """Return provisional labels, uint8, shape (H, W); names not met before are appended."""
    # The last entry is for -1.
    table = np.zeros(len(frame.names) + 1, np.uint8)
    for index, each in enumerate(frame.names):
        name = class_of(each, size)
        if name not in names:
            names.append(name)
        table[index] = names.index(name) + 1
    return table[frame.owner]


def _choose_classes(names: list[str], counts: dict[str, np.ndarray], size: Size) -> dict:
    """Choose the classes by the training frames alone and count them in every split."""
    frames = {s: dict(zip(names, (c > 0).sum(0).tolist(), strict=False)) for s, c in counts.items()}
    pixels = {s: dict(zip(names, c.sum(0).tolist(), strict=False)) for s, c in counts.items()}
    training = pixels['training']
    kept = [name for name in names if frames['training'][name] >= size.min_frames]
    classes = sorted(kept, key=lambda name: (-training[name], name))
    return {
        'classes': classes,
        'pixels': {s: {c: pixels[s][c] for c in classes} for s in SPLITS},
        'frames': {s: {c: frames[s][c] for c in classes} for s in SPLITS},
        'absent': {s: [c for c in classes if not frames[s][c]] for s in SPLITS},
        'merged': {c: p for c, p in MERGED.items() if size.merges and c in classes},
        'left_out': {n: {s: frames[s][n] for s in SPLITS} for n in sorted(set(names) - {*classes})},
        'sources': {
            'renderer': 'ViZDoom (MIT; its engine, ZDoom, has licences of its own)',
            'levels and art': 'Freedoom (BSD 3-Clause, contributors to the Freedoom project)',
        },
    }


def _renumber(root: Path, names: list[str], info: dict) -> None:
    table = np.zeros(256, np.uint8)
    for number, name in enumerate(info['classes'], 1):
        table[names.index(name) + 1] = number
    for path in sorted((root / 'annotations').glob('*/*.png')):
        cv2.imwrite(str(path), table[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)])
