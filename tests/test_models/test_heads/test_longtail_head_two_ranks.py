"""Contrast losses of pixels, trained by two processes, are those of one with both batches."""

import pytest
import torch
import torch.distributed as dist
from mmengine.model import BaseModule, MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from lt_mm.models.counts import set_class_counts
from lt_mm.models.layers import ClassQueue
from lt_mm.structures import ClassCounts

SIZE, IMAGES = 16, 2
# Labelled rows (of SIZE) of the images of rank 0 and of rank 1, step by step: uneven, then one
# rank without a labelled pixel, then the other, then both, then uneven the other way round.
LABELLED_ROWS = [(16, 3), (10, 0), (0, 7), (0, 0), (2, 16)]
GML = dict(type='lt_mm.GMLLoss', size=2048, min_size=512, widths=(8, 6))
EXACT = dict(dtype=torch.float64, tolerance=1e-9)
CASES = {
    'float64': dict(EXACT, contrast=GML),
    'float32': dict(dtype=torch.float32, tolerance=1e-5, contrast=GML),
    # Here a difference in the last bit of a key can become one of 2^-11 of it.
    'float16_queue': dict(dtype=torch.float32, tolerance=1e-3, contrast=GML, queue=torch.float16),
    'trainable_temperature': dict(EXACT, contrast=dict(GML, trainable_temperature=True)),
    'SupCon': dict(EXACT, contrast=dict(type='lt_mm.SupConLoss', widths=(8, 6))),
    'BCL': dict(EXACT, contrast=dict(type='lt_mm.BCLLoss', widths=(8, 6))),
    'PaCo': dict(EXACT, contrast=dict(type='lt_mm.PaCoLoss', widths=(8, 6), size=2048)),
}
WITH_QUEUE = [name for name, case in CASES.items() if 'size' in case['contrast']]


@MODELS.register_module()
class OneConvolution(BaseModule):
    """A backbone without normalisation, whose statistics would differ between ranks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, inputs):
        return (self.layer(inputs).tanh(),)


def build(dtype, contrast, queue=None, **_):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = dict(
        type='lt_mm.LongTailHead', base='FCNHead', classifier='cosine', in_channels=8, in_index=0,
        channels=8, num_classes=4, num_convs=1, concat_input=False, dropout_ratio=0, norm_cfg=None,
        align_corners=False, loss_decode=dict(type='lt_mm.LogitAdjustedLoss'),
        keys_per_class=10**6, contrast=contrast,
    )  # fmt: skip
    model = MODELS.build(
        dict(type='EncoderDecoder', backbone=dict(type='OneConvolution'), decode_head=head)
    )
    model.init_weights()
    set_class_counts(model, ClassCounts([50, 30, 15, 5]))
    model.to(dtype)
    for part in model.modules():
        if isinstance(part, ClassQueue):
            part.to(queue or dtype)
    return model.train()


def batch(step, ranks, dtype):
    """Inputs and data samples that these ranks see at this step."""
    inputs, samples = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(100 * step + rank)
        inputs.append(torch.randn(IMAGES, 3, SIZE, SIZE, generator=generator).to(dtype))
        for image in range(IMAGES):
            labels = torch.randint(4, (1, SIZE, SIZE), generator=generator)
            labels[:, LABELLED_ROWS[step][rank] :] = 255
            meta = dict(img_path=f'{step}-{rank}-{image}')
            samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=meta))
    return torch.cat(inputs), samples


def queue_of(model):
    queue = getattr(model.decode_head.contrast, 'queue', None)
    return {} if queue is None else queue.state_dict()


def train(case, ranks):
    """Losses, gradients and queue of every step of a process that sees the batches of ranks."""
    model = build(**case)
    wrapped = model
    if dist.is_initialized():
        wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    history = []
    for step in range(len(LABELLED_ROWS)):
        losses = wrapped(*batch(step, ranks, case['dtype']), mode='loss')
        losses = {name: value for name, value in losses.items() if 'loss' in name}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        history.append(
            dict(
                losses={name: value.detach() for name, value in losses.items()},
                gradients={
                    name: value.grad.clone()
                    for name, value in model.named_parameters()
                    if value.requires_grad
                },
                queue={name: one.clone() for name, one in queue_of(model).items()},
            )
        )
        optimizer.step()
    return history


def train_rank(rank):
    return {name: train(case, [rank]) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.fixture(scope='module', params=CASES)
def runs(request, both_ranks):
    """Histories of rank 0, of rank 1 and of one process with the joint batch; the tolerance."""
    case = CASES[request.param]
    tolerance = dict(rtol=case['tolerance'], atol=case['tolerance'])
    return *(rank[request.param] for rank in both_ranks), train(case, [0, 1]), tolerance


def test_mean_of_the_losses_is_the_joint_loss(runs):
    first, second, joint, tolerance = runs
    for step, both in enumerate(zip(first, second, joint, strict=True)):
        a, b, expected = (record['losses'] for record in both)
        assert set(a) == set(b) == set(expected) > {'decode.loss_cls'}
        for name, value in expected.items():
            assert (value > 0) == any(LABELLED_ROWS[step]), (step, name)
            torch.testing.assert_close((a[name] + b[name]) / 2, value, **tolerance)


def test_averaged_gradients_are_the_joint_gradients(runs):
    first, second, joint, tolerance = runs
    for step, both in enumerate(zip(first, second, joint, strict=True)):
        a, b, expected = (record['gradients'] for record in both)
        for name, value in expected.items():
            assert torch.equal(a[name], b[name]), (step, name)
            assert value.any() == any(LABELLED_ROWS[step]), (step, name)
            torch.testing.assert_close(a[name], value, **tolerance)


def rows_by_class(queue):
    """Sample and feature of the keys of each class, sorted, for the order of keys is random."""
    rows = list(zip(queue['ids'].tolist(), queue['features'].tolist(), strict=True))
    ends = queue['lengths'].cumsum(0)
    filled = zip(ends - queue['lengths'], queue['filled'], strict=True)
    return [sorted(rows[start : start + count]) for start, count in filled]


@pytest.mark.parametrize('runs', WITH_QUEUE, indirect=True)
def test_queues_are_those_of_one_process(runs):
    first, second, joint, tolerance = runs
    for a, b, expected in zip(first, second, joint, strict=True):
        a, b, expected = a['queue'], b['queue'], expected['queue']
        for name, value in a.items():
            assert torch.equal(value, b[name]), name
        for name in ('lengths', 'positions', 'filled'):
            assert torch.equal(a[name], expected[name]), name
        for got, wanted in zip(rows_by_class(a), rows_by_class(expected), strict=True):
            assert [sample for sample, _ in got] == [sample for sample, _ in wanted]
            features = (torch.tensor([row for _, row in rows]) for rows in (got, wanted))
            torch.testing.assert_close(*features, **tolerance)
    assert int(joint[-1]['queue']['filled'].sum()) > 300
