import json

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread

from lt_mm.visualization.reliability import ACCURACY, GAPS, plot_reliability, read_calibration


def content(bins, unit='images'):
    """From (count, confidence, accuracy) of each bin."""
    rows = [
        {
            'from': b / len(bins),
            'to': (b + 1) / len(bins),
            'count': count,
            'confidence': confidence,
            'accuracy': accuracy,
        }
        for b, (count, confidence, accuracy) in enumerate(bins)
    ]
    return dict(
        unit=unit, bins=rows, metrics=dict(ECE=12.34, MCE=56.7, confidence=71.0, accuracy=60.0)
    )


OVER = content([(0, None, None), (30, 0.4, 0.25), (0, None, None), (10, 0.9, 0.5)])
UNDER = content([(1, 0.2, 0.8), (0, None, None), (0, None, None), (3, 0.8, 1.0)], 'pixels')


@pytest.fixture
def figures(monkeypatch):
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure,
        'savefig',
        lambda self, *args, **kw: (saved.append(self), savefig(self, *args, **kw)),
    )
    return saved


def bars(axes, colour, edge=False):
    """(left, bottom, top) of the bars of a colour."""
    return [
        pytest.approx((bar.get_x(), bar.get_y(), bar.get_y() + bar.get_height()))
        for bar in axes.patches
        if (bar.get_edgecolor() if edge else bar.get_facecolor()) == to_rgba(colour)
    ]


def test_bars_gaps_and_shares_are_where_the_numbers_say(tmp_path, figures):
    path = plot_reliability({'CE': OVER, 'LWS': UNDER}, tmp_path / 'new' / 'a.png')
    assert imread(path).shape[1] > 900
    upper, _, lower, _ = figures[0].axes
    assert upper.get_title() == 'CE\nECE 12.3 %, MCE 56.7 %'
    assert bars(upper, ACCURACY) == [(0.25, 0, 0.25), (0.75, 0, 0.5)]
    assert bars(upper, GAPS['over'], edge=True) == [(0.25, 0.25, 0.4), (0.75, 0.5, 0.9)]
    assert not bars(upper, GAPS['under'], edge=True)
    assert bars(lower, '0.7') == [(0.25, 0, 0.75), (0.75, 0, 0.25)]
    assert [line.get_xdata()[0] for line in lower.lines] == [0.71, 0.6]
    assert upper.get_ylabel() == 'accuracy' and lower.get_xlabel() == 'confidence'
    assert 'images' in lower.get_ylabel()


def test_what_is_under_confident_has_a_mark_of_its_own(tmp_path, figures):
    plot_reliability({'LWS': UNDER}, tmp_path / 'a.png')
    upper, lower = figures[0].axes
    assert bars(upper, GAPS['under'], edge=True) == [(0, 0.2, 0.8), (0.75, 0.8, 1.0)]
    assert not bars(upper, GAPS['over'], edge=True)
    assert 'pixels' in lower.get_ylabel()


@pytest.mark.parametrize('number', [1, 2, 5, 7])
def test_panels_stand_side_by_side_and_nothing_is_cut_off(tmp_path, figures, number):
    names = [f'cRT with mixup {i}' for i in range(number)]
    plot_reliability(dict.fromkeys(names, OVER), tmp_path / 'a.png')
    shown = [axes for axes in figures[0].axes if axes.get_visible()]
    titled = [axes for axes in shown if axes.get_title()]
    assert [axes.get_title().split('\n')[0] for axes in titled] == names
    assert len(shown) == 2 * number
    rows = {round(axes.get_position().y0, 2) for axes in titled}
    assert len(rows) == (2 if number == 7 else 1)
    extents = [axes.title.get_window_extent() for axes in titled]
    extents.append(figures[0].legends[0].get_window_extent())
    for box in extents:
        assert 0 <= box.x0 and box.x1 <= figures[0].bbox.width


def test_without_a_model_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match='calibrations is empty'):
        plot_reliability({}, tmp_path / 'a.png')


def test_reads_what_the_metric_writes_and_nothing_else(tmp_path):
    path = tmp_path / 'bins.json'
    path.write_text(json.dumps(OVER))
    assert read_calibration(path) == OVER
    with pytest.raises(FileNotFoundError, match='output_json'):
        read_calibration(tmp_path / 'none.json')
    for text in ('{"ECE": 1}', '[1]', 'loss: 3'):
        path.write_text(text)
        with pytest.raises(ValueError, match='holds no calibration bins'):
            read_calibration(path)
