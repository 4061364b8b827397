import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from lt_mm.visualization import plot_predictions

NAMES = ['road', 'sky', 'car']
PALETTE = [[128, 64, 128], [70, 130, 180], [0, 0, 142]]


@pytest.fixture
def figures(monkeypatch):
    saved, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure,
        'savefig',
        lambda self, *args, **kw: (saved.append(self), savefig(self, *args, **kw)),
    )
    return saved


def sample(num_classes=3, shapes=((30, 40), (40, 40))):
    rng = np.random.default_rng(0)
    images = [rng.integers(256, size=(*shape, 3), dtype=np.uint8) for shape in shapes]
    truths = [rng.integers(num_classes, size=shape) for shape in shapes]
    return images, truths


def test_draws_image_truth_and_each_method_in_every_row(tmp_path, figures):
    images, truths = sample()
    predictions = {'CE': [2 - t for t in truths], 'GML': truths}
    path = plot_predictions(images, truths, predictions, NAMES, PALETTE, tmp_path / 'new' / 'p.png')
    height, width = imread(path).shape[:2]
    assert width == 1920 and 480 * 1.75 < height < 480 * 1.75 + 300
    axes = np.reshape(figures[0].axes, (2, 4))
    assert [ax.get_title() for ax in axes[0]] == ['image', 'ground truth', 'CE', 'GML']
    palette = np.array(PALETTE)
    for row in range(2):
        drawn = [ax.images[0].get_array() for ax in axes[row]]
        np.testing.assert_array_equal(drawn[0], images[row])
        for picture, labels in zip(drawn[1:], [truths[row], 2 - truths[row], truths[row]]):
            np.testing.assert_array_equal(picture, palette[labels])
    legend = figures[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == NAMES
    assert legend.get_window_extent().y1 < min(ax.bbox.y0 for ax in axes[1])


@pytest.mark.parametrize('ignore_index', [255, -1])
def test_unlabelled_pixels_are_striped_grey_and_white_and_explained(
    tmp_path, figures, ignore_index
):
    images, truths = sample(shapes=((160, 200),))
    truths[0][:80] = ignore_index
    plot_predictions(
        images, truths, {}, NAMES, PALETTE, tmp_path / 'p.png', ignore_index=ignore_index
    )
    drawn = figures[0].axes[1].images[0].get_array()
    striped = np.unique(drawn[:80].reshape(-1, 3), axis=0).tolist()
    assert striped == [[200, 200, 200], [255, 255, 255]]
    np.testing.assert_array_equal(drawn[80:], np.array(PALETTE)[truths[0][80:]])
    texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert texts == [*NAMES, 'unlabelled']


def test_above_30_classes_the_legend_lists_those_that_occur(tmp_path, figures):
    names = [f'class {i}' for i in range(31)]
    palette = np.random.default_rng(0).integers(256, size=(31, 3))
    images, truths = sample(shapes=((30, 40),))
    prediction = np.full((30, 40), 30)
    plot_predictions(
        images, truths, {'CE': [prediction]}, names, palette.tolist(), tmp_path / 'p.png'
    )
    texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert texts == ['class 0', 'class 1', 'class 2', 'class 30']


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(images=[]), 'images is empty'),
        (dict(palette=PALETTE[:2]), 'palette has 2 colours for 3'),
        (dict(predictions={'CE': []}), 'CE has 0 class maps for 1'),
        (dict(predictions={'CE': [np.zeros((4, 5), int)]}), r'CE, row 0, has shape \(4, 5\)'),
        (dict(predictions={'CE': [np.full((30, 40), 3)]}), 'CE, row 0, holds label 3'),
        (dict(predictions={'CE': [np.full((30, 40), -1)]}), 'CE, row 0, holds label -1'),
    ],
)
def test_input_that_does_not_fit_is_named(tmp_path, change, message):
    images, truths = sample(shapes=((30, 40),))
    arguments = dict(images=images, truths=truths, predictions={}, palette=PALETTE) | change
    with pytest.raises(ValueError, match=message):
        plot_predictions(class_names=NAMES, path=tmp_path / 'p.png', **arguments)
