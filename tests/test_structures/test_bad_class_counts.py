"""Class counts that cannot be: refused wherever they enter, in words that name the way out."""

import json
import re

import numpy as np
import pytest
import torch

from lt_mm.engine.hooks import ClassCountsHook
from lt_mm.models.losses import GMLLoss, LogitAdjustedLoss
from lt_mm.structures import ClassCounts

INVALID = [
    ([], 'at least one class'),
    ([0, 0, 0], 'zero for all 3 classes: count a set that has labels'),
    ([4, -1, 2], 'zero or more, but class 1 has -1: write 0 for a class that is absent'),
    ([4, 1.5, 2], 'whole numbers, but class 1 has 1.5'),
    ([4, float('nan'), 2], 'finite, but class 1 has nan'),
    ([4, float('inf'), 2], 'finite, but class 1 has inf'),
    ([4, '1', 2], 'one number for each class'),
    ([4, None, 2], 'one number for each class'),
    ([[4, 1, 2]], 'one number for each class'),
    ([4, 2**70, 2], 'one number for each class'),
    ([4, 1e30, 2], 'below 2.*63, but class 1 has 1e.30'),
    ({0: 4, 1: 1}, r'in class order, but got \{0: 4, 1: 1\}: give a list'),
    ({4, 1, 2}, 'in class order'),
    (7, 'one number for each class'),
    ([True, False], 'got truth values'),
]


@pytest.mark.parametrize(('counts', 'message'), INVALID)
def test_refused_by_whoever_takes_numbers(counts, message):
    for take in (ClassCounts, ClassCounts.of, ClassCountsHook):
        with pytest.raises(ValueError, match=message):
            take(counts)
    if isinstance(counts, list) and len(np.shape(counts)) == 1 and None not in counts:
        with pytest.raises(ValueError):
            ClassCounts(np.array(counts))


def content(**changes):
    return {
        **dict(name='mine', unit='pixels', source='', classes=[['a', 3], ['b', 0]]),
        **changes,
    }


def pairs(*counts):
    return json.dumps(content(classes=[[f'c{i}', count] for i, count in enumerate(counts)]))


DAMAGED = {
    'empty': ('', 'Expecting value'),
    'cut off': (json.dumps(content())[:-9], 'Expecting|Unterminated'),
    'no object': ('3', 'it lacks name, unit, source, classes'),
    'null': ('null', 'it lacks name'),
    'without a unit': (json.dumps({k: v for k, v in content().items() if k != 'unit'}), 's unit'),
    'counts in words': (pairs(3, '5'), 'one number for each class'),
    'counts in lists': (pairs(3, [5]), 'one number for each class'),
    'nan': (pairs(3, float('nan')), 'finite, but class 1 has nan'),
    'infinity': (pairs(3, float('inf')), 'finite, but class 1 has inf'),
    'truth values': (pairs(3, True), 'got truth values'),
    'nested': (pairs(3, [[5]]), 'one number for each class'),
    'a class twice': (
        json.dumps(content(classes=[['a', 1], ['b', 2], ['a', 3]])),
        "'a' stands in it more than",
    ),
    'a key twice': (json.dumps(content())[:-1] + ', "unit": "images"}', "'unit' stands in it more"),
    'negative': (pairs(3, -5), 'class 1 has -5'),
    'broken number': (pairs(3, 0.5), 'class 1 has 0.5'),
    'no class': (pairs(), 'at least one class'),
    'all absent': (pairs(0, 0), 'zero for all 2'),
    'triples': (json.dumps(content(classes=[['a', 1, 2]])), 'pairs'),
    'one name missing': (json.dumps(content(classes=[['a', 1], [None, 2]])), 'list of strings'),
    'unit in a list': (json.dumps(content(unit=['pixels'])), 'is unknown: use one of pixels'),
}


@pytest.mark.parametrize('kind', DAMAGED)
def test_damaged_file_is_named_by_whoever_reads_it(tmp_path, kind):
    text, message = DAMAGED[kind]
    path = tmp_path / 'counts.json'
    path.write_text(text)
    for take in (ClassCounts.load, ClassCounts.of, ClassCountsHook):
        with pytest.raises(
            ValueError, match=rf"counts.json' does not hold class counts \(.*{message}.*count again"
        ):
            take(str(path))


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [
        ('ade20k_pixel', 'ade20k_pixels'),
        ('ADE20K_images', 'ade20k_images'),
        ('cityscape_images.json', 'cityscapes_images'),
        ('coco-stuff164k_pixels', 'cocostuff164k_pixels'),
    ],
)
def test_unknown_name_is_told_the_nearest(name, nearest):
    for take in (ClassCounts.load, ClassCountsHook):
        with pytest.raises(
            FileNotFoundError, match=rf"'{name}' are neither .*one of .*\(perhaps '{nearest}'\)$"
        ):
            take(name)


@pytest.mark.parametrize('name', ['', 'lvis', '/', 'no/such/file.json'])
def test_name_like_none_is_told_all(name):
    with pytest.raises(FileNotFoundError, match=rf"'{re.escape(name)}' are .*cocostuff164k_pix"):
        ClassCounts.load(name)


def gml_loss(num_classes=3, **kwargs):
    return GMLLoss(num_classes, 4, **{**dict(size=12, min_size=2, widths=(5,)), **kwargs})


@pytest.mark.parametrize('counts', [[1, 2], [1, 2, 3, 4], [1]])
def test_counts_of_another_number_of_classes_change_nothing(counts):
    loss = gml_loss()
    loss.set_class_counts(ClassCounts([7, 2, 1]))
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    with pytest.raises(
        ValueError, match=rf'have {len(counts)} classes but GMLLoss has 3: use the counts of the d'
    ):
        loss.set_class_counts(ClassCounts(counts))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_logits_of_another_number_of_classes():
    loss = LogitAdjustedLoss()
    loss.set_class_counts(ClassCounts([7, 2, 1]))
    with pytest.raises(ValueError, match=r'log_prior has shape \(3,\).* 4 classes; '):
        loss(torch.randn(5, 4), torch.zeros(5, dtype=torch.int64))


def test_one_count_that_would_fit_any_logits():
    with pytest.raises(ValueError, match='class counts of one class.*num_classes=2'):
        LogitAdjustedLoss().set_class_counts(ClassCounts([7]))


@pytest.mark.parametrize(('size', 'num_classes'), [(5, 3), (1, 1), (0, 3)])
def test_queue_too_small_for_its_classes(size, num_classes):
    least = 2 * num_classes
    with pytest.raises(
        ValueError,
        match=f'size={size} is too small for {num_classes} queues .*raise size to {least}',
    ):
        gml_loss(num_classes, size=size)


def test_queue_of_a_negative_size():
    with pytest.raises(ValueError, match='class queue is -4, but it must be a whole number from 0'):
        gml_loss(2, size=-4)


@pytest.mark.parametrize('absent', [(0,), (2,), (0, 1)])
def test_absent_class_in_a_training_step(absent):
    """No prior, the shortest queue, and no NaN, whether or not its label comes after all."""
    counts = [0 if c in absent else 10 ** (6 * c) for c in range(3)]
    for labels in (torch.tensor([0, 1, 2, 2]), torch.tensor([c for c in range(3) if counts[c]])):
        torch.manual_seed(0)
        loss, classifier = gml_loss(), LogitAdjustedLoss()
        for part in (loss, classifier):
            part.set_class_counts(ClassCounts(counts))
        assert loss.class_counts.log_prior.isneginf().nonzero().flatten().tolist() == [*absent]
        assert all(loss.queue.lengths[c] == 2 for c in absent)
        features = torch.randn(len(labels), 4, requires_grad=True)
        logits = torch.randn(len(labels), 3, requires_grad=True)
        loss.queue.enqueue(features, labels)
        total = loss(features, labels)['loss_gml'] + classifier(logits, labels)
        total.backward()
        assert total.isfinite()
        for value in (features, logits, *loss.parameters()):
            assert value.grad.isfinite().all()


def test_a_truth_value_among_numbers_is_refused():
    for take in (ClassCounts, ClassCounts.of, ClassCountsHook):
        with pytest.raises(ValueError, match='got truth values'):
            take([4, True, 2])


def test_names_that_a_data_set_has_twice_can_be_saved(tmp_path):
    """As ImageNet has two classes called crane."""
    counts = ClassCounts([3, 2, 1], ['crane', 'owl', 'crane'])
    counts.save(tmp_path / 'counts.json')
    assert ClassCounts.load(tmp_path / 'counts.json') == counts


def test_counts_of_other_classes_are_refused_and_those_of_another_order_put_in_order():
    counts = ClassCounts([5, 3, 1], ['a', 'b', 'c'], prior=[0.2, 0.3, 0.5], name='mine')
    turned = counts.in_order_of(['c', 'a', 'b'], 'the head')
    assert turned == ClassCounts([1, 5, 3], ['c', 'a', 'b'], prior=[0.5, 0.2, 0.3])
    assert counts.in_order_of(None, 'the head') is counts
    numbers = ClassCounts([5, 3, 1])
    assert numbers.in_order_of(['x', 'y', 'z'], 'the head') is numbers
    with pytest.raises(ValueError, match="'mine' are of other classes than the head: 'c' stands"):
        counts.in_order_of(['a', 'b', 'x'], 'the head')
    with pytest.raises(ValueError, match="'mine' have 3 classes but the head has 2"):
        counts.in_order_of(['a', 'b'], 'the head')
