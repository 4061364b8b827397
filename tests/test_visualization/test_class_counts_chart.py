import pytest
from matplotlib.colors import to_hex
from PIL import Image

from lt_mm.structures import ClassCounts
from lt_mm.visualization.class_counts import COLORS, NO_GROUP, draw_class_counts


def tick_names(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_classes_stand_by_falling_count_in_the_colour_of_their_group():
    counts = ClassCounts([5, 900, 0, 70], ['a', 'b', 'c', 'd'], 'pixels', name='toy')
    axes = draw_class_counts(counts, groups=dict(sizes=(1, 2, 1))).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [900, 70, 5, 0]
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == [
        COLORS[0],
        COLORS[1],
        COLORS[1],
        COLORS[2],
    ]
    assert axes.get_xlabel() == 'class, by falling number of pixels'
    assert tick_names(axes) == ['b', 'd', 'a', 'c']
    assert axes.get_yscale() == 'log'
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [
        ('900', 0),
        ('70', 1),
        ('5', 2),
        ('0', 3),
    ]
    assert axes.get_ylim()[0] < 5
    assert 'imbalance factor 180' in axes.get_title()


def test_groups_of_ones_own_and_a_class_in_none():
    counts = ClassCounts([5, 900, 0, 70], ['a', 'b', 'c', 'd'])
    groups = dict(lists=dict(things=[3, 0], stuff=[2]))
    axes = draw_class_counts(counts, groups=groups).axes[0]
    assert tick_names(axes) == ['d', 'a', 'c', 'b']
    assert to_hex(axes.patches[-1].get_facecolor()) == to_hex(NO_GROUP)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0] == 'things: 2 classes, 7.7% of the total'
    assert texts[2] == 'no group: 1 classes, 92.3% of the total'
    assert axes.get_xlabel() == 'class, by group'


def test_names_are_indices_where_there_are_none_and_left_out_where_there_are_too_many():
    assert tick_names(draw_class_counts(ClassCounts([1, 3, 2])).axes[0]) == ['1', '2', '0']
    many = draw_class_counts(ClassCounts(range(1, 302))).axes[0]
    assert len(many.patches) == 301
    assert len(tick_names(many)) < 20


@pytest.mark.parametrize('name', ['ade20k', 'cityscapes'])
def test_both_units_go_into_one_picture(tmp_path, name):
    both = [ClassCounts.load(f'{name}_{unit}') for unit in ('pixels', 'images')]
    path = tmp_path / 'folder' / 'chart.png'
    figure = draw_class_counts(both, path)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        'pixels (log scale)',
        'images (log scale)',
    ]
    width, height = Image.open(path).size
    assert (width, height) == pytest.approx(tuple(figure.get_size_inches() * 120), abs=1)
    # Wide enough for one line of rotated text a class.
    assert width / both[0].num_classes >= 18


def test_one_class_alone_is_drawn(tmp_path):
    draw_class_counts(ClassCounts([4]), tmp_path / 'one.png')
    assert (tmp_path / 'one.png').stat().st_size > 1000


@pytest.mark.parametrize(
    ('unit', 'names'), [('pixels', ['head', 'body', 'tail']), ('images', ['many', 'medium', 'few'])]
)
def test_groups_are_those_of_the_metric_of_the_task(unit, names):
    axes = draw_class_counts(ClassCounts([12_345, 50, 3_200_000], unit=unit)).axes[0]
    labels = [text.get_text().split(':')[0] for text in axes.get_legend().get_texts()]
    assert labels == names
    assert sorted(text.get_text() for text in axes.texts) == ['12.3k', '3.2M', '50']


def test_both_panels_of_a_segmentation_set_have_the_same_groups():
    panels = [ClassCounts([500, 50, 3], unit=unit) for unit in ('pixels', 'images')]
    for axes in draw_class_counts(panels).axes:
        assert axes.get_legend().get_texts()[0].get_text().startswith('head')
