import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as CLASSIFIERS
from mmseg.registry import MODELS as SEGMENTORS
from torch import nn

from lt_mm.models.heads.find_classifier import find_classifier

HEAD = dict(in_channels=4, channels=6, num_classes=5, norm_cfg=dict(type='BN'))


@pytest.mark.parametrize(
    'head',
    [
        dict(type='FCNHead', in_index=-1, num_convs=1, **HEAD),
        dict(type='PSPHead', in_index=-1, pool_scales=(1,), **HEAD),
        dict(type='lt_mm.LongTailHead', base='FCNHead', classifier='cosine', in_index=-1, **HEAD),
    ],
)
def test_the_classifier_of_segmentors(head):
    init_default_scope('mmseg')
    model = nn.Module()
    model.decode_head = SEGMENTORS.build(head)
    name, layer = find_classifier(model, 5)
    assert name == 'decode_head.conv_seg' and layer.weight.shape[0] == 5
    assert dict(model.named_modules())[name] is layer


@pytest.mark.parametrize(
    ('head', 'name'),
    [
        (dict(type='LinearClsHead', in_channels=6), 'head.fc'),
        (dict(type='StackedLinearClsHead', in_channels=6, mid_channels=[5]), 'head.layers.1.fc'),
        (dict(type='VisionTransformerClsHead', in_channels=6), 'head.layers.head'),
        (dict(type='lt_mm.LongTailClsHead', in_channels=6), 'head.fc'),
    ],
)
def test_the_classifier_of_classifiers(head, name):
    init_default_scope('mmpretrain')
    model = nn.Module()
    model.head = CLASSIFIERS.build(dict(num_classes=5, **head))
    found = find_classifier(model, 5)
    assert found[0] == name
    assert find_classifier(model, 9) is None and find_classifier(nn.Module(), 5) is None
