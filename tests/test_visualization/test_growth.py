"""plot_growth draws the rows that vary one size, and only those."""

from lt_mm.visualization.growth import plot_growth

BASE = dict(N=8, K=4)
LABELS = dict(N='queries', K='keys')


def row(method, n, k, seconds=1.0):
    return dict(method=method, N=n, K=k, seconds=seconds, extra_mib=2.0)


def test_rows_off_both_axes_change_nothing(tmp_path):
    rows = [row(m, n, k) for m in ('ours', 'dense') for n, k in ((8, 4), (16, 4), (8, 2))]
    first = plot_growth(rows, BASE, LABELS, tmp_path / 'new' / 'a.png')
    second = plot_growth([*rows, row('ours', 99, 99)], BASE, LABELS, tmp_path / 'b.png')
    third = plot_growth([*rows, row('ours', 99, 4, seconds=50)], BASE, LABELS, tmp_path / 'c.png')
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()
