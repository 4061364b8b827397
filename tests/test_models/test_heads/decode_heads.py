"""Tiny decode heads of all kinds, and batches for them."""

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

COUNTS = [50, 30, 15, 5]
PRIOR = torch.tensor([0.5, 0.3, 0.15, 0.05])
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
GML = dict(type='lt_mm.GMLLoss', size=40, min_size=2, widths=(8, 6))
LEVELS = dict(in_channels=[4, 8, 8, 8], in_index=[0, 1, 2, 3])
LAST = dict(in_channels=8, in_index=3)
# Heads for which earlier versions had classes of their own.
SIX = {
    'FCNHead': dict(LAST, num_convs=1, concat_input=False),
    'PSPHead': dict(LAST, pool_scales=(1, 2)),
    'ASPPHead': dict(LAST, dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(LAST, dilations=(1, 2), c1_in_channels=4, c1_channels=4),
    'UPerHead': dict(LEVELS, pool_scales=(1, 2)),
    'SegformerHead': LEVELS,
}
# CCHead and PSAHead need the compiled operators of mmcv; OCRHead needs a cascade.
BASES = SIX | {
    'ANNHead': dict(in_channels=[8, 8], in_index=[2, 3], project_channels=4),
    'APCHead': dict(LAST, pool_scales=(1, 2)),
    'DAHead': dict(LAST, pam_channels=4),
    'DDRHead': dict(in_channels=8, loss_decode=[ADJUSTED, ADJUSTED]),
    'DMHead': dict(LAST, filter_sizes=(1, 3)),
    'DNLHead': LAST,
    'DPTHead': dict(
        in_channels=[8] * 4, in_index=[0, 1, 2, 3], input_transform='multiple_select',
        embed_dims=8, post_process_channels=[4] * 4,
    ),
    'DepthwiseSeparableFCNHead': dict(LAST, num_convs=1, concat_input=False),
    'EMAHead': dict(LAST, ema_channels=8, num_bases=4, num_stages=2),
    'EncHead': dict(in_channels=[8, 8], in_index=[2, 3], num_codes=4),
    'FPNHead': dict(LEVELS, feature_strides=[4, 8, 16, 16]),
    'GCHead': LAST,
    'ISAHead': dict(LAST, isa_channels=4, down_factor=(2, 2)),
    'LRASPPHead': dict(
        in_channels=[4, 8, 8], in_index=[0, 1, 2], input_transform='multiple_select',
        branch_channels=(4, 4),
    ),
    'LightHamHead': dict(
        in_channels=[8, 8, 8], in_index=[1, 2, 3], ham_channels=8, ham_kwargs=dict(MD_R=4)
    ),
    'NLHead': LAST,
    'PIDHead': dict(
        in_channels=8, loss_decode=[ADJUSTED, ADJUSTED, dict(type='BoundaryLoss'), ADJUSTED]
    ),
    'SETRMLAHead': dict(in_channels=[8, 8], in_index=[2, 3], mla_channels=4),
    'SETRUPHead': LAST,
}  # fmt: skip


def config(base='FCNHead', type='lt_mm.LongTailHead', **changes):
    """Of a head on a base or, where there is no base, of this type."""
    named = dict(type=type) if base is None else dict(type=type, base=base)
    common = dict(
        channels=8, num_classes=4, norm_cfg=dict(type='BN'), align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )  # fmt: skip
    return common | named | BASES.get(base, {}) | changes


def plain(base='FCNHead', **changes):
    """The head that nobody wrapped, in training mode."""
    cfg = config(base, **changes)
    return built(cfg | dict(type=cfg.pop('base')))


def long_tail(base='FCNHead', counts=COUNTS, **changes):
    """A LongTailHead in training mode."""
    return built(config(base, **changes), counts)


def built(cfg, counts=COUNTS):
    """The head of a config, initialised, with class counts unless they are None."""
    head = MODELS.build(cfg)
    head.init_weights()
    if counts is not None:
        set_class_counts(head, ClassCounts(counts))
    return revert_sync_batchnorm(head).train()


def inputs_of(base='FCNHead', size=16, images=2, training=True):
    """What the backbones of a base give it."""
    halves = [size // 2, size // 4]

    def maps(channels, side):
        return torch.randn(images, channels, side, side)

    if base == 'DDRHead':
        return (maps(4, halves[0]), maps(8, halves[1])) if training else maps(8, halves[1])
    if base == 'PIDHead':
        return (maps(4, halves[0]), maps(8, halves[0]), maps(4, halves[0])) if training else (
            maps(8, halves[0])
        )  # fmt: skip
    if base == 'DPTHead':
        return [(maps(8, halves[1]), torch.randn(images, 8)) for _ in range(4)]
    if base == 'LRASPPHead':
        # It pools squares of 49 pixels.
        return [maps(channels, 50) for channels in (4, 8, 8)]
    return [maps(4, size), maps(8, halves[0]), maps(8, halves[1]), maps(8, halves[1])]


def samples_of(size=16, images=2, ignored=()):
    """Random labels with a quarter of each image to ignore, or all of it; and edges."""
    samples = []
    for index in range(images):
        labels = torch.randint(4, (1, size, size))
        labels[:, : size // 4] = 255
        if index in ignored:
            labels[:] = 255
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=labels),
                gt_edge_map=PixelData(data=(labels == 1).long()),
                metainfo=dict(img_path=f'{index}.png'),
            )
        )
    return samples


def batch(base='FCNHead', size=16, **kwargs):
    """Inputs and data samples."""
    return inputs_of(base, size), samples_of(size, **kwargs)


def losses_in(losses):
    """Of what a head returns, what a step sums."""
    return {name: value for name, value in losses.items() if 'loss' in name}


def step(head, data):
    """Losses after the backward pass, and the names of the parameters that got a gradient."""
    losses = head.loss(*data, train_cfg={})
    sum(losses_in(losses).values()).backward()
    return losses, {name for name, one in head.named_parameters() if one.grad is not None}


def predict(head, inputs, size=16, images=2):
    """Logits at the size of the images, in eval mode."""
    metas = [dict(img_shape=(size, size), pad_shape=(size, size))] * images
    return head.eval().predict(inputs, metas, None)
