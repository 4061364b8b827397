"""ClassGroups: every rule against one in plain Python, and what is at the edge of it."""

import random

import numpy as np
import pytest
import torch

from lt_mm.structures import ClassCounts, ClassGroups
from lt_mm.structures.class_groups import refuse_old_arguments

TIES = [5, 9, 5, 1, 0, 7, 5, 0]
BY_INDEX = dict(sizes=(2, 2, 4), by='index')


def plain(rule, counts):
    """The groups of the arguments of a rule, class by class."""
    rule = dict(rule)
    names = rule.pop('names', None)
    if 'lists' in rule:
        return {name: list(classes) for name, classes in rule['lists'].items()}
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    if rule.keys() & {'many_above', 'few_below'}:
        names = names or ('many', 'medium', 'few')
        above, below = rule.get('many_above', 100), rule.get('few_below', 20)
        order = range(len(counts))

        def group_of(place, c):
            return 0 if counts[c] > above else 2 if counts[c] < below else 1

    elif 'shares' in rule:

        def group_of(place, c):
            before = sum(counts[other] for other in order[:place])
            shares = rule['shares']
            ends = [sum(shares[: i + 1]) * sum(counts) for i in range(len(shares) - 1)]
            return sum(before >= end for end in ends) if counts[c] else len(shares) - 1

    else:
        if rule.get('by') == 'index':
            order = range(len(counts))
        sizes = rule['sizes']

        def group_of(place, c):
            return next(i for i in range(len(sizes)) if place < sum(sizes[: i + 1]))

    names = names or ('head', 'body', 'tail')
    groups = {name: [] for name in names}
    for place, c in enumerate(order):
        groups[names[group_of(place, c)]].append(c)
    return groups


def lists(groups):
    assert all(classes.dtype == torch.int64 for classes in groups.values())
    return {name: classes.tolist() for name, classes in groups.items()}


@pytest.mark.parametrize(
    'rule',
    [
        dict(many_above=5, few_below=5),
        dict(many_above=100),
        dict(few_below=1, names=('a', 'b', 'c')),
        dict(many_above=4, few_below=5),
        dict(sizes=(2, 2, 4)),
        dict(sizes=(0, 8, 0), by='counts'),
        BY_INDEX,
        dict(sizes=(1, 6, 1, 0), names=('w', 'x', 'y', 'z')),
        dict(lists=dict(common=[6, 1], rare=[], odd=[0])),
        dict(shares=(0.5, 0.3, 0.2)),
        dict(shares=(0.25, 0.25, 0.25, 0.25), names=('w', 'x', 'y', 'z')),
    ],
)
@pytest.mark.parametrize(
    'counts', [TIES, [3] * 8, [0] * 7 + [1], [1000, 101, 100, 99, 20, 19, 1, 0]]
)
def test_rules_do_what_plain_python_does(rule, counts):
    assert lists(ClassGroups.of(rule).split(counts)) == plain(rule, counts)


@pytest.mark.parametrize('num_classes', [1, 2, 3, 10, 171, 10_000])
@pytest.mark.parametrize('zeros', [0.0, 0.5])
def test_any_number_of_classes(num_classes, zeros):
    draw = random.Random(num_classes)
    counts = [int(zeros < draw.random()) * draw.randrange(1, 300) for _ in range(num_classes)]
    counts[-1] = 300
    for rule in (
        ClassGroups.by_sizes(),
        ClassGroups.by_sizes(by='index'),
        ClassGroups.by_thresholds(),
        ClassGroups.by_share(),
    ):
        groups = rule.split(counts)
        assert tuple(groups) == rule.names
        assert sorted(torch.cat(list(groups.values())).tolist()) == list(range(num_classes))
        if rule == ClassGroups.by_sizes(by='index'):
            continue
        # No class is rarer than one of a group behind its own.
        ends = [torch.tensor(counts)[g] for g in groups.values() if len(g)]
        for frequent, rare in zip(ends, ends[1:], strict=False):
            assert frequent.min() >= rare.max()


@pytest.mark.parametrize('num_classes', [1, 2, 3, 7, 8, 10, 15, 19, 45, 150, 171, 1000])
def test_usual_sizes_keep_the_proportions_of_ade20k(num_classes):
    sizes = [len(g) for g in ClassGroups.by_sizes().split([1] * num_classes).values()]
    assert sizes[0] >= 1
    for size, share in zip(sizes, (20, 55, 75), strict=True):
        assert abs(size - num_classes * share / 150) <= 1


def test_groups_of_ade20k_by_index_are_those_published():
    published = dict(head=range(20), body=range(20, 75), tail=range(75, 150))
    expected = {name: list(classes) for name, classes in published.items()}
    for rule in (ClassGroups.by_sizes(by='index'), ClassGroups.by_sizes((20, 55, 75), 'index')):
        assert lists(rule.split(num_classes=150)) == expected
        assert lists(rule.split('ade20k_pixels')) == expected


def test_published_limits_of_shots():
    counts = [19, 20, 100, 101, 0, 5000]
    expected = dict(many=[3, 5], medium=[1, 2], few=[0, 4])
    assert lists(ClassGroups.by_thresholds().split(counts)) == expected
    adjacent = ClassGroups.by_thresholds(many_above=19, few_below=20)
    assert lists(adjacent.split(counts)) == dict(many=[1, 2, 3, 5], medium=[], few=[0, 4])


def test_shares_keep_a_dominant_class_out_of_the_body():
    """Where proportions of classes put the second of seven, with 47 % of the pixels, there."""
    counts = [480, 490, 15, 8, 4, 2, 1]
    assert lists(ClassGroups.by_sizes().split(counts))['head'] == [1]
    by_share = lists(ClassGroups.by_share().split(counts))
    assert by_share == dict(head=[1, 0], body=[], tail=[2, 3, 4, 5, 6])
    assert lists(ClassGroups.by_share().split([1, 0])) == dict(head=[0], body=[], tail=[1])
    held = ClassCounts.load('ade20k_pixels').counts.double()
    groups = ClassGroups.by_share().split('ade20k_pixels')
    shares = [(held[g].sum() / held.sum()).item() for g in groups.values()]
    assert shares == pytest.approx([0.8, 0.16, 0.04], abs=0.01)


def test_of_takes_what_a_config_may_hold():
    rule = ClassGroups.by_sizes((1, 2), names=('a', 'b'))
    assert ClassGroups.of(rule) is rule
    assert ClassGroups.of(dict(sizes=[1, 2], names=['a', 'b'])) == rule
    assert ClassGroups.of(None) == ClassGroups.of(None, 'pixels') == ClassGroups.by_share()
    assert ClassGroups.of(None, 'images') == ClassGroups.by_thresholds(100, 20)
    assert ClassGroups.of(dict(shares=(0.5, 0.5), names=('a', 'b'))).names == ('a', 'b')


def test_lists_may_be_tensors():
    expected = ClassGroups.by_lists(dict(a=[0, 2], b=[1], c=[]))
    for kind in (torch.tensor, np.array, lambda classes: [torch.tensor(c) for c in classes]):
        found = {name: kind(classes) for name, classes in dict(a=[0, 2], b=[1]).items()}
        found = ClassGroups.by_lists(found | dict(c=torch.zeros(0, dtype=torch.int64)))
        assert found == expected and hash(found) == hash(expected)
        assert lists(found.split(num_classes=3)) == dict(a=[0, 2], b=[1], c=[])


def test_what_needs_no_counts():
    for rule in (BY_INDEX, dict(lists=dict(a=[0]))):
        rule = ClassGroups.of(rule)
        assert not rule.needs_counts
        assert lists(rule.split(num_classes=8)) == lists(rule.split(TIES))
        with pytest.raises(ValueError, match='has no class counts to go by'):
            rule.split()
    for rule in (dict(few_below=9), dict(sizes=(1, 1, 1)), dict(shares=(0.5, 0.3, 0.2))):
        assert ClassGroups.of(rule).needs_counts
        with pytest.raises(ValueError, match='has no class counts to go by'):
            ClassGroups.of(rule).split(num_classes=3)


@pytest.mark.parametrize(
    ('rule', 'message'),
    [
        ({}, 'groups are {}: give arguments of one rule'),
        ([1, 2, 3], r'groups are \[1, 2, 3\]'),
        (dict(names=('a', 'b')), 'give arguments of one rule'),
        (dict(sizes=(1, 2, 3), few_below=4), 'give arguments of one rule'),
        (dict(size=(1, 2, 3)), 'give arguments of one rule'),
        (dict(sizes=5), 'give arguments of one rule'),
        (dict(many_above='all'), 'give arguments of one rule'),
        (dict(shares='abc'), 'give arguments of one rule'),
        (dict(lists=dict(head=3)), 'give arguments of one rule'),
        (dict(many_above=20, few_below=30), 'few_below is 30 and many_above 20, so that a class'),
        (dict(many_above=float('nan')), 'many_above nan'),
        (dict(many_above=9, few_below=2, names=('a', 'b')), '3 parts between two thresholds were'),
        (dict(by='name'), "by 'name': use 'counts' or 'index'"),
        (dict(sizes=(1, 2)), '2 sizes were given for the class groups head, body, tail'),
        (dict(sizes=(-1, 2, 2)), r'\(-1, 2, 2\) do not split'),
        (dict(sizes=(1.0, 2, 2)), 'give whole numbers of 0 or more'),
        (dict(sizes=(1, 2), names=('a', 'a')), r"names of class groups are \('a', 'a'\)"),
        (dict(sizes=(), names=()), 'at least one'),
        (dict(lists=[[0], [1]]), 'give the classes of each group by its name'),
        (dict(lists=dict(a=[0, 1], b=[1])), 'class 1 stands in the lists of .* a, b'),
        (dict(lists=dict(a=[-1])), 'class -1 stands'),
        (dict(lists=dict(a=['sky'])), "class 'sky' stands"),
        (
            dict(lists=dict(a=[0], b=[-3, 1])),
            'class -3 stands in .* a, b, but is negative: give whole',
        ),
        (dict(lists=dict(a=[0.0, 1.0])), 'class 0.0 stands in .* but is a float: give whole'),
        (dict(lists=dict(a=[True])), 'class True stands in .* but is a bool'),
        (dict(lists=dict(a=[[0, 1]])), r'class \[0, 1\] stands in .* but is a list'),
        (dict(lists=dict(a=torch.tensor([0.0]))), 'class 0.0 stands in .* but is a float'),
        (dict(lists=dict(a=torch.tensor([0, -1]))), 'class -1 stands in .* but is negative'),
        (dict(lists=dict(a=[torch.tensor(1), 1])), 'class 1 stands in .* twice: give each index'),
        (dict(lists=dict(a=torch.tensor(3))), 'give arguments of one rule'),
        (dict(shares=(0.5, 0.3, 0.3)), r'\(0.5, 0.3, 0.3\): give positive ones that sum to 1'),
        (dict(shares=(1.0, 0.0, 0.0)), 'give positive ones'),
        (dict(shares=(0.5, 0.5)), '2 shares were given'),
    ],
)
def test_rules_that_make_no_sense_are_refused_when_built(rule, message):
    with pytest.raises(ValueError, match=message):
        ClassGroups.of(rule)


def test_rules_that_do_not_fit_the_classes_are_refused():
    for sizes in ((1, 1, 2), (4, 0, 0), (0, 0, 0)):
        for by in ('counts', 'index'):
            with pytest.raises(ValueError, match='do not split 3 classes: .*head, body, tail'):
                ClassGroups.by_sizes(sizes, by).split([1, 2, 3])
    with pytest.raises(ValueError, match='class 3 of the group b is none of the 3 classes'):
        ClassGroups.by_lists(dict(a=[0], b=[1, 3])).split(num_classes=3)


def test_old_arguments_name_their_successor():
    refuse_old_arguments('Metric', dict(prefix='a'))
    old = dict(group_sizes=(1, 2), prefix='a', group_by='index')
    with pytest.raises(
        TypeError,
        match=r'Metric does not know group_sizes and group_by any more: give '
        r"groups=dict\(sizes=\(1, 2\), by='index'\)",
    ):
        refuse_old_arguments('Metric', old)
