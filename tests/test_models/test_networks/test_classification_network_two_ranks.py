"""A LongTailClassifier trained by two processes is one trained by one that sees both batches."""

import pytest
import torch
import torch.distributed as dist
from mmengine.model import BaseModule, MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.structures import ClassCounts

STEPS = 3
# Images of rank 0 and of rank 1, step by step.
IMAGES = [(4, 4), (5, 2), (1, 6)]
CASES = {
    'own keys': dict(views=3),
    'one view': dict(views=1),
    'momentum': dict(views=3, key_momentum=0.9),
    'teacher': dict(views=3, teacher=True),
    'float32': dict(views=2, dtype=torch.float32),
    'trainable temperature': dict(views=2, trainable_temperature=True),
}


@MODELS.register_module()
class EncoderWithoutNorm(BaseModule):
    """Without normalisation, whose statistics would differ between ranks."""

    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2, padding=1)

    def forward(self, inputs):
        return (self.conv(inputs).tanh().mean(dim=(2, 3)),)


def build(folder, dtype=torch.float64, key_momentum=None, teacher=False, views=1, **gml):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    head = dict(
        type='lt_mm.GMLClsHead', num_classes=4, in_channels=8,
        contrast=dict(size=200, min_size=50, widths=(8, 6), **gml),
    )  # fmt: skip
    plain = dict(
        type='ImageClassifier',
        backbone=dict(type='EncoderWithoutNorm'),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=8),
    )
    cfg = dict(plain, type='lt_mm.LongTailClassifier', head=head, key_momentum=key_momentum)
    if teacher:
        path = f'{folder}/teacher{dist.get_rank() if dist.is_initialized() else 2}.pth'
        torch.save(MODELS.build(plain).state_dict(), path)
        cfg['teacher'] = dict(config=plain, checkpoint=path)
    torch.manual_seed(1)
    model = MODELS.build(cfg)
    for part in model.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([50, 30, 15, 5]))
    if teacher:
        model.teacher.model.to(dtype)
    return model.to(dtype).train()


def batch(step, ranks, views, dtype=torch.float64, **_):
    """Views and data samples that these ranks see at this step."""
    parts, samples = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(100 * step + rank)
        count = IMAGES[step][rank]
        parts.append(torch.randn(views, count, 3, 8, 8, generator=generator).to(dtype))
        for image, label in enumerate(torch.randint(4, (count,), generator=generator)):
            meta = dict(img_path=f'{step}-{rank}-{image}')
            samples.append(DataSample(metainfo=meta).set_gt_label(int(label)))
    joint = torch.cat(parts, dim=1)
    return (joint[0] if views == 1 else list(joint)), samples


def train(case, ranks, folder):
    """Losses, gradients, queue and momentum encoder of a process that sees batches of ranks."""
    model = build(folder, **case)
    wrapped = model
    if dist.is_initialized():
        wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
    history = []
    for step in range(STEPS):
        losses = wrapped(*batch(step, ranks, **case), mode='loss')
        losses = {name: value for name, value in losses.items() if 'loss' in name}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        state = {n: v.clone() for n, v in model.state_dict().items()}
        losses = {name: value.detach() for name, value in losses.items()}
        history.append(dict(losses=losses, gradients=gradients, state=state))
        optimizer.step()
    return history


def train_rank(rank, folder):
    return {name: train(case, [rank], folder) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('ranks')


@pytest.fixture(scope='module')
def both_ranks(two_ranks, folder):
    return two_ranks(train_rank, folder)


@pytest.mark.parametrize('case', CASES)
def test_two_ranks_equal_one(both_ranks, folder, case):
    first, second = (rank[case] for rank in both_ranks)
    joint = train(CASES[case], [0, 1], folder)
    for a, b, expected in zip(first, second, joint, strict=True):
        assert set(a['losses']) == set(expected['losses']) >= {'loss_cls', 'loss_gml'}
        for name, value in expected['losses'].items():
            mean = (a['losses'][name] + b['losses'][name]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-5, atol=1e-5)
        for name, value in expected['gradients'].items():
            assert torch.equal(a['gradients'][name], b['gradients'][name]), name
            torch.testing.assert_close(a['gradients'][name], value, rtol=1e-5, atol=1e-5)
        for name, value in expected['state'].items():
            assert torch.equal(a['state'][name], b['state'][name]), name
            torch.testing.assert_close(a['state'][name], value, rtol=1e-5, atol=1e-3)
    assert joint[-1]['state']['head.contrast.queue.filled'].sum() == sum(map(sum, IMAGES))
