"""check_labels: what passes and what is named."""

import pytest
import torch

from lt_mm.functional import check_labels


@pytest.mark.parametrize('labels', [[0, 1, 2], [255, 0], [255, 255], []])
def test_classes_and_the_ignored_label_pass(labels):
    check_labels(torch.tensor(labels, dtype=torch.long), 3, 'a head', ignore_index=255)


@pytest.mark.parametrize('label', [3, -1, 254])
def test_others_are_named(label):
    labels = torch.tensor([[[0, 255], [label, 2]]])
    message = f'label {label} reached a head, which has 3 classes and ignores 255'
    with pytest.raises(ValueError, match=message):
        check_labels(labels, 3, 'a head', ignore_index=255)
