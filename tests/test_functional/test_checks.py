"""Checks of labels, features and temperatures: what passes, what is named, and how often."""

import math

import pytest
import torch

from lt_mm.functional import (
    check_batch,
    check_finite,
    check_labels,
    check_temperature,
    checked_once,
)

GOOD, BAD = torch.tensor([0, 1, 2]), torch.tensor([0, 3, 1])


def passes(labels, num_classes=3, **changes):
    try:
        check_labels(labels, num_classes, 'a head', **changes)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize('labels', [[0, 1, 2], [255, 0], [255, 255], []])
def test_classes_and_the_ignored_label_pass(labels):
    check_labels(torch.tensor(labels, dtype=torch.long), 3, 'a head', ignore_index=255)


@pytest.mark.parametrize('label', [3, -1, 254])
def test_others_are_named(label):
    labels = torch.tensor([[[0, 255], [label, 2]]])
    message = f'label {label} reached a head, which has 3 classes and ignores 255'
    with pytest.raises(ValueError, match=message):
        check_labels(labels, 3, 'a head', ignore_index=255)


def test_where_nothing_is_ignored():
    with pytest.raises(ValueError, match='label -100 reached a head, which .* and ignores nothing'):
        check_labels(torch.tensor([-100]), 3, 'a head', ignore_index=None)


def test_a_batch_names_the_first_fault_of_labels_then_of_features():
    nan, inf = torch.tensor([1.0, math.nan]), torch.tensor([[math.inf]])
    good = dict(queries=torch.ones(3), keys=torch.zeros(0, 4))
    check_batch('a head', GOOD, 3, finite=good)
    check_batch('a head')
    with pytest.raises(ValueError, match='label 3'):
        check_batch('a head', BAD, 3, finite=dict(queries=nan))
    with pytest.raises(FloatingPointError, match='a head: keys are not finite, so the queue would'):
        check_batch('a head', GOOD, 3, finite=dict(good, keys=inf))
    with pytest.raises(FloatingPointError, match='a head: queries are not finite, so all is lost;'):
        check_batch('a head', finite=dict(queries=nan, keys=inf), harm='all is lost')
    with pytest.raises(FloatingPointError, match='a head: its keys are not finite'):
        check_finite(inf, 'a head', 'its keys')


def test_a_batch_gives_further_numbers_of_the_same_look():
    numbers = check_batch('a head', GOOD, 3, numbers=[GOOD.sum(), GOOD > 0])
    assert numbers == [[3], [0, 1, 1]]
    with checked_once():
        check_labels(GOOD, 3, 'a head')
        assert check_batch('a head', GOOD, 3, numbers=[GOOD.sum()]) == [[3]]


def test_labels_are_looked_at_once():
    with checked_once():
        assert passes(GOOD)
        # Not looked at: they are said to be those of the same images.
        assert passes(BAD)
    assert not passes(BAD)


def test_what_was_not_asked_is_looked_at():
    """Other numbers of classes, and whether less is allowed."""
    with checked_once():
        assert passes(GOOD, 4)
        assert not passes(BAD, 3)
        assert not passes(torch.tensor([3]), 2)
        assert passes(torch.tensor([255, 1]), 3, ignore_index=255)
        assert not passes(torch.tensor([255, 1]), 3, ignore_index=None)
        assert not passes(torch.tensor([255, 1]), 3, ignore_index=254)


def test_labels_that_are_all_classes_need_no_look_at_what_is_ignored():
    with checked_once():
        assert passes(GOOD, 3, ignore_index=None)
        assert passes(BAD, 3, ignore_index=255) and passes(BAD, 3, ignore_index=None)
        assert not passes(BAD, 2, ignore_index=255)


def test_a_fault_is_not_taken_for_a_look():
    with checked_once():
        for _ in range(2):
            assert not passes(BAD)
        assert passes(GOOD) and passes(BAD)
    # A batch whose features are at fault may come again, too.
    with checked_once():
        with pytest.raises(FloatingPointError):
            check_batch('a head', GOOD, 3, finite=dict(keys=torch.tensor(math.nan)))
        assert not passes(BAD)


def test_features_are_looked_at_every_time():
    with checked_once():
        for _ in range(2):
            with pytest.raises(FloatingPointError):
                check_batch('a head', GOOD, 3, finite=dict(keys=torch.tensor(math.nan)))
            check_batch('a head', GOOD, 3, finite=dict(keys=torch.tensor(1.0)))


def test_nested_contexts():
    with checked_once():
        with checked_once():
            assert passes(GOOD)
        assert passes(BAD)
        with checked_once():
            assert passes(BAD) and not passes(BAD, 2)
    assert not passes(BAD)


def test_what_is_known_to_pass_within_holds_within_alone():
    with checked_once():
        assert passes(GOOD, 3, ignore_index=255)
        with checked_once((3, None)):
            assert passes(BAD, 3, ignore_index=None) and not passes(BAD, 2)
        assert not passes(BAD, 3, ignore_index=None)
    with checked_once((3, None)):
        assert passes(BAD)
    assert not passes(BAD)


def test_an_error_inside_ends_the_context():
    with pytest.raises(KeyError), checked_once():
        check_labels(GOOD, 3, 'a head')
        raise KeyError
    assert not passes(BAD)
    with checked_once():
        with pytest.raises(KeyError), checked_once((3, None)):
            assert passes(BAD)
            raise KeyError
        assert not passes(BAD)
    with pytest.raises(ValueError, match='label 3'), checked_once():
        check_labels(BAD, 3, 'a head')
    assert not passes(BAD)


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.inf, -math.inf, math.nan])
def test_temperatures_out_of_their_range(temperature):
    message = f'temperature of a loss is {temperature}, but it must be positive and finite; use 1.'
    with pytest.raises(ValueError, match=message):
        check_temperature(temperature, 'of a loss', 'use 1')


def test_temperatures_in_their_range():
    for temperature in (1e-30, 1, 5.0, 1e30):
        check_temperature(temperature, 'of a loss', 'use 1')
