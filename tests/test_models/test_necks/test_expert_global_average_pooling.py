import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from lt_mm.models.necks import ExpertGlobalAveragePooling


def test_average_of_every_channel_of_every_expert():
    features = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    stages = ExpertGlobalAveragePooling()((features[:, :, :2, :1], features))
    assert [tuple(stage.shape) for stage in stages] == [(2, 3, 2), (2, 3, 4)]
    for n in range(2):
        for e in range(3):
            for c in range(4):
                pixels = [features[n, e, c, i, j] for i in range(5) for j in range(6)]
                torch.testing.assert_close(stages[1][n, e, c], sum(pixels) / 30)


@pytest.mark.parametrize('shape', [(0, 3, 4, 5, 6), (1, 1, 1, 1, 1)])
def test_no_image_and_one_of_everything(shape):
    (pooled,) = ExpertGlobalAveragePooling()((torch.rand(shape),))
    assert pooled.shape == shape[:3]


def test_features_without_experts_are_refused():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        neck = MODELS.build(dict(type='lt_mm.ExpertGlobalAveragePooling'))
    with pytest.raises(ValueError, match=r'\(2, 4, 5, 6\).*MultiExpertResNet'):
        neck((torch.rand(2, 4, 5, 6),))
