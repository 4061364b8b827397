"""Turns of classes, and rounds of the images of a class."""

import numpy as np

from lt_mm.datasets.samplers import ClassAwareSampler


def test_every_class_has_its_turn(labels):
    dataset = labels(9, 0, 3, 1)
    of_image = np.array(dataset._labels)
    sampler = ClassAwareSampler(dataset, samples_per_class=2, size=36, seed=0)
    drawn = of_image[list(sampler)].reshape(6, 3, 2)
    assert (drawn[..., 0] == drawn[..., 1]).all()
    orders = [tuple(turn) for turn in drawn[..., 0]]
    assert all(sorted(order) == [0, 2, 3] for order in orders)
    assert len(set(orders)) > 1


def test_images_of_a_class_come_in_rounds(labels):
    dataset = labels(5, 3)
    of_image = np.array(dataset._labels)
    drawn = np.array(list(ClassAwareSampler(dataset, size=30, seed=0)))
    for c, images in ((0, 5), (1, 3)):
        rounds = drawn[of_image[drawn] == c].reshape(-1, images)
        expected = np.flatnonzero(of_image == c)
        assert all(sorted(one) == expected.tolist() for one in rounds)
        assert len({tuple(one) for one in rounds}) > 1
