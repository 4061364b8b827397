"""The page of a diagnosis: complete in itself, and true to what it is given."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lt_mm.visualization.diagnosis import MAX_ROWS, draw_example, write_report

GROUPS = ('head', 'body', 'tail')
VOID = {'meta', 'link', 'br', 'img', 'wbr'}


def report_content(num_classes, with_model=True, task='segmentation'):
    """A content as of diagnosis.json, of classes of ever fewer pixels."""
    second = 'iou' if task == 'segmentation' else 'precision'
    counts = [int(1e6 / (c + 1) ** 2) for c in range(num_classes)]
    group = [GROUPS[min(2, 4 * c // num_classes)] for c in range(num_classes)]
    classes = [
        dict(
            index=c,
            name=f'class <{c}>',
            group=group[c],
            train=dict(count=counts[c], images=c, regions=2, small_regions=0.5, region_size=8),
            val=dict(count=counts[c], images=c),
            model={
                'labelled': 5, 'predicted': 6, 'accuracy': 0.5 if c else None, second: 0.25,
                'feature_norm': 1.5, 'weight_norm': 0.5,
            },
        )
        for c in range(num_classes)
    ]  # fmt: skip
    split = dict(
        samples=9, unit='pixels', total=123, imbalance_factor=7.0, gini=0.5, absent=['<x>']
    )
    bins = dict(number=[1.0], confidence=[0.5], accuracy=[0.25])
    calibration = dict(number=7, ECE=0.125, confidence=0.5, accuracy=0.25, bins=bins)
    content = dict(
        config='configs/my.py',
        checkpoint='a.pth' if with_model else None,
        task=task,
        unit='pixels',
        group_names=list(GROUPS),
        training_counts='counted',
        classes=classes,
        data=dict(
            train=split,
            val=split,
            prior_shift=dict(
                total_variation=0.25,
                jensen_shannon=0.1,
                most=[dict(name='class <0>', train=0.5, val=0.25)],
            ),
            company=[
                dict(name='rare', images=6, beside=[dict(name='often', share=1.0, everywhere=0.5)])
            ],
        ),
        advice=[
            dict(
                finding='12 %', section='groups', figures={}, advice='Try.', command='python a "b"'
            )
        ],
    )
    if not with_model:
        content['advice'][0]['section'] = 'data'
    else:
        shares = dict(right=0.5, head=0.3, body=0.2, tail=None)
        boundary = dict.fromkeys(
            ('boundary_error', 'interior_error', 'boundary_share', 'boundary_share_of_errors'), 0.1
        )
        scores = dict(mIoU=0.3, mAcc=0.4, aAcc=0.5, accuracy=0.6, class_accuracy=0.7)
        group = dict(classes=3, labelled=5, predicted=6, accuracy=0.5, iou=0.25, precision=None)
        content['model'] = dict(
            images=9,
            scores=scores,
            groups=dict.fromkeys(GROUPS, group),
            group_confusion=dict.fromkeys(GROUPS, shares),
            worst_pairs=[
                dict(
                    label=1, predicted=0, label_name='class <1>', predicted_name='class <0>',
                    label_group='tail', predicted_group='', number=12345, share=0.75,
                )
            ],
            calibration=dict(overall=calibration, groups=dict.fromkeys(GROUPS, calibration)),
            norms=dict(layer='head.fc', weight_correlation=0.5, feature_correlation=None),
        )  # fmt: skip
        if task == 'segmentation':
            content['model']['boundary'] = dict.fromkeys(('all classes', *GROUPS), boundary)
            regions = dict(number=[1, 2], found=[0.5, None], accuracy=[0.5, None])
            content['model']['regions'] = dict.fromkeys(('all classes', *GROUPS), regions)
            content['model']['small_regions'] = dict(
                number=4, number_larger=5, found=0.5, found_larger=None
            )
    return content


class Page(HTMLParser):
    """Whether tags are closed in order, which addresses are asked for, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.ids, self.links = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs['id']] if 'id' in attrs and 'svg' not in self.open else []
        for key in ('src', 'href', 'xlink:href', 'data', 'srcset'):
            value = attrs.get(key)
            if value is None:
                continue
            if value.startswith('#'):
                self.links += [value[1:]] if tag == 'a' else []
            elif not value.startswith('data:'):
                self.addresses.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        return

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize(
    ('task', 'with_model', 'num_classes'),
    [
        ('segmentation', True, 150),
        ('segmentation', False, 3),
        ('classification', True, 3),
        ('classification', False, 150),
    ],
)
def test_a_page_is_complete_in_itself(tmp_path, task, with_model, num_classes):
    content = report_content(num_classes, with_model, task)
    picture = draw_example(np.zeros((4, 4, 3), np.uint8), None, None, 1, 0)
    path = write_report(content, {(1, 0): picture}, tmp_path / 'page.html')
    text = path.read_text()
    page = Page(text)
    assert page.addresses == [] and '@import' not in text and not re.search(r'url\((?!#)', text)
    assert set(page.links) <= set(page.ids) and len(page.ids) == len(set(page.ids))
    words = ' '.join(' '.join(page.words).split())
    # Every class is named in the table, whatever characters its name has.
    for c in range(num_classes):
        assert f'class <{c}>' in words
    assert 'python a "b"' in words and '12 %' in words
    assert ('Worst pairs' in words) == with_model
    if with_model:
        assert '75.0 % of the class, 12.3 k' in words
    assert '<script' not in text and 'nan' not in re.sub(r'data:[^"]*', '', text).lower()


def test_many_classes_are_cut_and_said_to_be(tmp_path):
    text = write_report(report_content(MAX_ROWS + 7), {}, tmp_path / 'page.html').read_text()
    assert '7 more are in diagnosis.json' in text
    assert f'class &lt;{MAX_ROWS - 1}&gt;' in text and f'class &lt;{MAX_ROWS}&gt;' not in text


def test_no_advice_and_no_faults_are_said(tmp_path):
    content = report_content(3)
    content['advice'], content['model']['worst_pairs'] = [], []
    text = write_report(content, {}, tmp_path / 'page.html').read_text()
    assert 'No figure is past the limit' in text and 'Nothing is predicted wrong' in text


@pytest.mark.parametrize(('number', 'said'), [(1, '1&nbsp;pixel\n'), (2, '2&nbsp;pixels\n')])
def test_one_pixel_is_singular(tmp_path, number, said):
    content = report_content(4)
    content['model']['worst_pairs'][0]['number'] = number
    write_report(content, {}, tmp_path / 'a.html')
    assert said in (tmp_path / 'a.html').read_text(encoding='utf-8')


def pixels_of(address):
    head, _, data = address.partition(',')
    assert head == 'data:image/jpeg;base64'
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))), dtype=int)


def test_wrong_pixels_are_magenta_and_right_ones_green():
    labels = np.zeros((30, 60), int)
    labels[:, 30:] = 1
    prediction = labels.copy()
    prediction[:, 45:] = 0
    picture = pixels_of(draw_example(np.full((30, 60, 3), 128, np.uint8), labels, prediction, 1, 0))
    height, width, _ = picture.shape
    # Cut around the wrong pixels, from 45 to 60 of 60, is a window of 24.
    assert width == 4 * height // 5 or max(height, width) == 220
    right, wrong = picture[height // 2, width // 6], picture[height // 2, -width // 6]
    assert wrong[0] > wrong[1] + 60 and wrong[2] > wrong[1] + 30
    assert right[1] > right[0] + 30


def test_an_image_without_a_map_is_shown_as_it_is():
    image = np.zeros((50, 100, 3), np.uint8)
    image[..., 2] = 200
    picture = pixels_of(draw_example(image, None, None, 0, 1))
    assert picture.shape == (110, 220, 3) and abs(picture[50, 50] - [0, 0, 200]).max() < 12


def test_an_image_of_another_size_than_its_map():
    labels = np.ones((20, 30), int)
    picture = draw_example(np.zeros((40, 60, 3), np.uint8), labels, labels * 0, 1, 0)
    assert pixels_of(picture).shape[1] == 220
