import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from lt_mm.visualization import plot_accuracy_against_frequency
from lt_mm.visualization.per_class import plot_csv_files

NAMES = ['road', 'sky', 'car', 'pole']
COUNTS = [4_000, 90_000, 700, 20]


@pytest.fixture
def figures(monkeypatch):
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure,
        'savefig',
        lambda self, *args, **kw: (saved.append(self), savefig(self, *args, **kw)),
    )
    return saved


def test_draws_a_line_per_method_from_rare_to_frequent(tmp_path, figures):
    accuracies = {'CE': [80, 90, 40, 10], 'GML': [82, 91, np.nan, 50]}
    path = plot_accuracy_against_frequency(
        COUNTS, accuracies, NAMES, tmp_path / 'new' / 'a.png', ylabel='IoU (%)'
    )
    height, width = imread(path).shape[:2]
    assert (width, height) == (1650, 1125)
    (axes,) = figures[0].axes
    assert axes.get_xscale() == 'log'
    assert axes.get_ylabel() == 'IoU (%)' and 'pixels' in axes.get_xlabel()
    lines = {line.get_label(): line for line in axes.lines if line.get_label() in accuracies}
    assert lines['CE'].get_xydata().tolist() == [[20, 10], [700, 40], [4000, 80], [90000, 90]]
    assert lines['GML'].get_xydata().tolist() == [[20, 50], [4000, 82], [90000, 91]]
    for style in ('get_marker', 'get_linestyle', 'get_color'):
        assert getattr(lines['CE'], style)() != getattr(lines['GML'], style)()
    assert [text.get_text() for text in axes.texts] == ['pole', 'car', 'road', 'sky']
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ['CE', 'GML']


def test_names_do_not_touch_and_the_legend_lies_outside_the_axes(tmp_path, figures):
    counts = np.full(30, 1000) + np.arange(30)
    names = [f'class {i}' for i in range(30)]
    plot_accuracy_against_frequency(counts, {'CE': np.arange(30)}, names, tmp_path / 'a.png')
    figure = figures[0]
    # The extent of an annotation spans its arrow too: that of its text alone is wanted.
    boxes = [Text.get_window_extent(name) for name in figure.axes[0].texts]
    assert all(left.x1 <= right.x0 for left, right in zip(boxes, boxes[1:]))
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].bbox.y0


def test_a_class_without_training_data_stands_at_zero(tmp_path, figures):
    plot_accuracy_against_frequency(
        [4000, 0, 700, 20], {'CE': [80, 1, 40, 10]}, NAMES, tmp_path / 'a.png'
    )
    axes = figures[0].axes[0]
    assert axes.get_xscale() == 'symlog'
    line = next(line for line in axes.lines if line.get_label() == 'CE')
    assert line.get_xydata()[0].tolist() == [0, 1]
    assert axes.get_xlim()[0] < 0


def test_many_classes_are_unnamed_points_with_a_sliding_mean(tmp_path, figures):
    counts = [0] + [2**i for i in range(49)]
    values = np.arange(50.0)
    plot_accuracy_against_frequency(
        counts, {'CE': values}, [str(i) for i in range(50)], tmp_path / 'a.png'
    )
    points, mean = figures[0].axes[0].lines
    assert not figures[0].axes[0].texts
    assert points.get_ydata().tolist() == values.tolist()
    naive = [sum(values[i : i + 4]) / 4 for i in range(1, 47)]
    assert mean.get_ydata() == pytest.approx(naive)
    centres = [2 ** (sum(range(i, i + 4)) / 4) for i in range(46)]
    assert mean.get_xdata() == pytest.approx(centres)


def test_one_class_is_drawn(tmp_path):
    path = plot_accuracy_against_frequency([7], {'CE': [50]}, ['road'], tmp_path / 'a.png')
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    'counts, accuracies, names, message',
    [
        (COUNTS, {}, NAMES, 'accuracies is empty'),
        (COUNTS, {'CE': [1, 2]}, NAMES, r"accuracies\['CE'\] has 2"),
        (COUNTS, {'CE': [1, 2, 3, 4]}, NAMES[:3], 'class_names has 3'),
        ([1, 2, 3, -1], {'CE': [1, 2, 3, 4]}, NAMES, 'from -1 to 3'),
        ([0, 0, 0, 0], {'CE': [1, 2, 3, 4]}, NAMES, 'from 0 to 0'),
        ([1, 2, 3, 0], {'CE': [np.nan] * 3 + [4]}, NAMES, "'CE'.* no number"),
    ],
)
def test_input_that_does_not_fit_is_named(tmp_path, counts, accuracies, names, message):
    with pytest.raises(ValueError, match=message):
        plot_accuracy_against_frequency(counts, accuracies, names, tmp_path / 'a.png')


def test_per_class_picture_takes_unknown_accuracies(tmp_path):
    header = 'class,group,count,iou,acc,label_pixels,pred_pixels\n'
    (tmp_path / 'a.csv').write_text(header + 'sky,head,90,50,60,1,1\nsign,tail,3,,,0,0\n')
    path = plot_csv_files({'ce': tmp_path / 'a.csv'}, tmp_path / 'picture.png')
    assert path.stat().st_size > 10000
