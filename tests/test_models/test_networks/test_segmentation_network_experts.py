"""One teacher for several GML experts: its features reach all of them, by one queue or many."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

COMMON = dict(
    in_channels=8, in_index=1, channels=6, num_convs=1, concat_input=False, num_classes=3,
    norm_cfg=dict(type='BN'), dropout_ratio=0,
)  # fmt: skip
TEACHER = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=2, out_indices=(0, 1), stem_channels=4,
        base_channels=4, strides=(1, 1), dilations=(1, 1), norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(COMMON, type='FCNHead'),
)  # fmt: skip
GML = dict(type='lt_mm.GMLFCNHead', contrast=dict(size=90, min_size=8, widths=(5,)))
PLAIN = dict(type='FCNHead')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture
def student(tmp_path):
    def build(experts, **changes):
        state = MODELS.build(copy.deepcopy(TEACHER)).state_dict()
        torch.save(dict(state_dict=state), tmp_path / 'teacher.pth')
        model = MODELS.build(
            dict(
                copy.deepcopy(TEACHER),
                type='lt_mm.LongTailEncoderDecoder',
                teacher=dict(config=TEACHER, checkpoint=str(tmp_path / 'teacher.pth')),
                decode_head=dict(
                    COMMON, type='lt_mm.MultiExpertDecodeHead', experts=experts, **changes
                ),
            )
        )
        set_class_counts(model, ClassCounts([70, 20, 10]))
        return model.train()

    return build


@pytest.mark.parametrize('share', [False, True])
def test_keys_of_all_experts_are_the_teachers(student, share):
    model = student([GML, PLAIN, GML], share_queue=share)
    model.init_weights()
    inputs = torch.randn(2, 3, 32, 32)
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 32, 32)))) for _ in range(2)
    ]
    losses = model.loss(inputs, samples)
    rows = model.teacher(inputs).features.permute(0, 2, 3, 1).reshape(-1, 6).half()
    experts = model.decode_head.experts
    assert (experts[0].contrast.queue is experts[2].contrast.queue) == share
    for index in (0, 2):
        keys = experts[index].contrast.queue.keys().features
        assert 0 < len(keys) <= 90
        assert all((key == rows).all(dim=1).any() for key in keys)
        assert losses[f'decode.expert{index}.loss_gml'] > 0
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not any('teacher' in name for name in model.state_dict())


def test_an_expert_of_other_keys_is_named(student):
    model = student([PLAIN, GML, dict(GML, contrast=dict(GML['contrast'], key_channels=9))])
    message = r'features of 6 channels.*have 9.*decode_head.experts\[2\].contrast.key_channels=6'
    with pytest.raises(ValueError, match=message):
        model.init_weights()


def test_experts_that_learn_nothing_of_it_are_refused(student):
    with pytest.raises(ValueError, match='its decode_head, MultiExpertDecodeHead, takes neither'):
        student([PLAIN, PLAIN])


@pytest.mark.parametrize('of_one', [False, True], ids=['the mean', 'one expert'])
def test_logits_alone(student, of_one):
    kd = dict(type='lt_mm.KDLoss')
    if of_one:
        model = student([PLAIN, dict(type='lt_mm.LongTailHead', base='FCNHead', distillation=kd)])
    else:
        model = student([PLAIN, PLAIN], distillation=kd)
    labels = torch.randint(3, (2, 1, 32, 32))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
    losses = model.loss(torch.randn(2, 3, 32, 32), samples)
    assert losses['decode.expert1.loss_kd' if of_one else 'decode.loss_kd'] > 0
