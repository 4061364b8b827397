import numpy as np
import pytest
from sklearn.datasets import load_digits

from lt_mm.datasets.digit_scenes_painter import (
    BACKGROUND_BRIGHTNESS,
    LUMA,
    MIN_CONTRAST,
    choose_tint,
    crop_background,
    paint_scene,
    scale_ink,
    split_plane,
)

INKS = (load_digits().images / 16).astype(np.float32)
TARGETS = load_digits().target
GREY = np.full((96, 96, 3), 120, np.uint8)


def paint(seed, count, background=GREY):
    rng = np.random.default_rng(seed)
    labels = np.ones(background.shape[:2], np.uint8)
    return paint_scene(rng, background, labels, INKS[:count], TARGETS[:count] + 3)


def test_crop_background_takes_pixels_of_the_photograph_only():
    photograph = np.zeros((120, 100, 3), np.uint8)
    photograph[...] = (100, 200, 60)
    crop = crop_background(np.random.default_rng(0), photograph, 48)
    assert crop.shape == (48, 48, 3)
    assert (crop == np.rint(np.array((100, 200, 60)) * BACKGROUND_BRIGHTNESS)).all()


def test_crop_background_flips_about_half_of_the_crops():
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (100, 100, 3))
    rng = np.random.default_rng(0)
    crops = [crop_background(rng, ramp, 32).astype(int) for _ in range(200)]
    flipped = sum(crop[0, 0, 0] > crop[0, -1, 0] for crop in crops)
    assert 70 < flipped < 130


def test_split_plane_leaves_a_share_on_both_sides_and_is_fair_on_average():
    rng = np.random.default_rng(0)
    shares = np.array([split_plane(rng, 96).mean() for _ in range(300)])
    assert shares.min() > 0.2
    assert shares.max() < 0.8
    assert shares.mean() == pytest.approx(0.5, abs=0.03)


def test_scale_ink_without_rotation_keeps_the_digit():
    ink = scale_ink(INKS[0], 40, 0)
    rows = np.flatnonzero(INKS[0].max(axis=1))
    assert ink.shape[0] == pytest.approx(40 / 8 * len(rows), abs=5)
    assert ink.shape[0] > ink.shape[1]
    assert 0 <= ink.min() < ink.max() <= 1


def test_scale_ink_turns_counter_clockwise():
    bar = np.zeros((8, 8), np.float32)
    bar[3:5] = 1
    turned = scale_ink(bar, 40, 12)
    y, x = np.nonzero(turned > 0.5)
    # Counter-clockwise on a screen: rows fall as columns rise.
    assert np.polyfit(x, y, 1)[0] == pytest.approx(-np.tan(np.deg2rad(12)), abs=0.03)


def test_digits_are_labelled_where_they_were_painted():
    scene = paint(0, 1)
    changed = np.abs(scene.image.astype(int) - 120).max(axis=2)
    digit = scene.labels == TARGETS[0] + 3
    assert digit.sum() > 50
    assert np.median(changed[digit]) > 2 * changed[scene.labels == 1].max()
    assert changed[digit].min() > changed[scene.labels == 1].max()
    assert scene.visible.tolist() == [1.0]


def test_every_digit_has_an_unlabelled_rim():
    labels = paint(1, 1).labels
    digit = np.pad(labels == TARGETS[0] + 3, 1)
    grown = digit[:-2, 1:-1] | digit[2:, 1:-1] | digit[1:-1, :-2] | digit[1:-1, 2:]
    border = grown & (labels != TARGETS[0] + 3)
    assert (labels[border] == 0).mean() > 0.9


def test_digits_keep_most_of_their_pixels():
    visible = np.concatenate([paint(seed, 4).visible for seed in range(50)])
    assert visible.min() > 0.5
    assert np.mean(visible == 1) < 0.99  # some do overlap
    assert np.mean(visible > 0.84) > 0.97


def test_some_images_have_an_unlabelled_rectangle():
    holes = [(paint(seed, 0).labels == 0).sum() for seed in range(200)]
    assert 20 < np.count_nonzero(holes) < 80
    assert max(holes) <= 16 * 16


def test_a_scene_without_digits_is_its_background():
    scene = paint(0, 0)
    assert (scene.image == GREY).all()
    assert scene.visible.shape == (0,)


def test_tint_is_lighter_than_the_background():
    rng = np.random.default_rng(0)
    for background in ([0, 0, 0], [140, 130, 120], [20, 30, 140]):
        tints = np.array([choose_tint(rng, np.array(background)) for _ in range(50)])
        assert ((tints - background) @ LUMA).min() >= MIN_CONTRAST
        assert tints.std(axis=0).min() > 15
        assert tints.max() <= 255


def test_tint_is_the_lightest_drawn_where_none_is_light_enough():
    white = np.full(3, 255.0)
    tints = np.array([choose_tint(np.random.default_rng(s), white) for s in range(20)])
    assert (tints @ LUMA).min() > 200
