"""Experts on two gloo ranks: losses, gradients and the shared queue are those of one process."""

import pytest
import torch
from mmengine.model import BaseModule, MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import distributed as dist
from torch import nn

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

# Rows of each image that are labelled, a rank; in the last step nothing is.
LABELLED_ROWS = [(8, 3), (6, 0), (0, 0)]
PLAIN = dict(type='FCNHead', num_convs=1, concat_input=False)
GML = dict(
    PLAIN, type='lt_mm.GMLFCNHead', keys_per_class=10**6,
    contrast=dict(size=1024, min_size=256, widths=(8, 6)),
)  # fmt: skip
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')


@MODELS.register_module()
class OneLayer(BaseModule):
    """A backbone without normalisation, whose statistics would differ between ranks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, inputs):
        return (self.layer(inputs).tanh(),)


def build():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = dict(
        type='lt_mm.MultiExpertDecodeHead', experts=[PLAIN, GML, GML], share_queue=True,
        interplay=dict(type='lt_mm.MutualLoss', temperature=2.0), in_channels=8, in_index=0,
        channels=8, num_classes=4, dropout_ratio=0, norm_cfg=None, loss_decode=ADJUSTED,
    )  # fmt: skip
    model = MODELS.build(
        dict(type='EncoderDecoder', backbone=dict(type='OneLayer'), decode_head=head)
    )
    model.init_weights()
    set_class_counts(model, ClassCounts([50, 30, 15, 5]))
    return model.double().train()


def batch(step, ranks):
    """Inputs and data samples that these ranks see at this step."""
    inputs, samples = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(100 * step + rank)
        inputs.append(torch.randn(2, 3, 8, 8, generator=generator).double())
        for image in range(2):
            labels = torch.randint(4, (1, 8, 8), generator=generator)
            labels[:, LABELLED_ROWS[step][rank] :] = 255
            meta = dict(img_path=f'{step}-{rank}-{image}')
            samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=meta))
    return torch.cat(inputs), samples


def train(ranks):
    """Losses, gradients and queue of every step of a process that sees the batches of ranks."""
    model = build()
    wrapped = model
    if dist.is_initialized():
        wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    history = []
    for step in range(len(LABELLED_ROWS)):
        losses = wrapped(*batch(step, ranks), mode='loss')
        losses = {name: value for name, value in losses.items() if 'loss' in name}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        queue = model.decode_head.experts[2].contrast.queue
        history.append(
            dict(
                losses={name: value.detach() for name, value in losses.items()},
                gradients={name: value.grad.clone() for name, value in model.named_parameters()},
                filled=queue.filled.clone(),
                features=queue.keys().features.sum(0),
            )
        )
        optimizer.step()
    return history


def train_rank(rank):
    return train([rank])


@pytest.fixture(scope='module')
def runs(two_ranks):
    """Histories of rank 0, of rank 1 and of one process with the joint batch."""
    return *two_ranks(train_rank), train([0, 1])


def test_two_ranks_are_one(runs):
    for step, (first, second, joint) in enumerate(zip(*runs, strict=True)):
        labelled = any(LABELLED_ROWS[step])
        assert 'decode.loss_mutual' in joint['losses'] and len(joint['losses']) == 6
        for name, value in joint['losses'].items():
            assert (value > 0) == labelled, (step, name)
            mean = (first['losses'][name] + second['losses'][name]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-7, atol=1e-9)
        for name, value in joint['gradients'].items():
            assert torch.equal(first['gradients'][name], second['gradients'][name])
            assert value.any() == labelled, (step, name)
            torch.testing.assert_close(first['gradients'][name], value, rtol=1e-6, atol=1e-9)
        for name in ('filled', 'features'):
            assert torch.equal(first[name], second[name])
            torch.testing.assert_close(first[name], joint[name])
    assert int(runs[2][-1]['filled'].sum()) == 4 * 2 * (4 + 2 + 3)
