"""A tiny classifier with everything LongTailClassifier offers, and batches for it."""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.models.losses import ContrastLoss
from lt_mm.structures import ClassCounts

PREPROCESSOR = dict(type='SelfSupDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
GML = dict(size=40, min_size=8, widths=(8, 6))


@MODELS.register_module()
class TinyEncoder(BaseModule):
    """One convolution, with batch normalisation or without; it counts the batches it is given."""

    def __init__(self, width=8, norm=True, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.batches = []

    def forward(self, inputs):
        self.batches.append(len(inputs))
        return (self.norm(self.conv(inputs)).tanh().mean(dim=(2, 3)),)


@MODELS.register_module()
class TinyDistillation(nn.Module):
    """Mean squared difference of softmaxes."""

    def forward(self, student, teacher):
        return (student.softmax(1) - teacher.softmax(1)).square().mean()


@MODELS.register_module()
class TinyContrast(ContrastLoss):
    """Keeps what it is given; it wants two views, and keys."""

    num_query_views = 2

    def __init__(self, num_classes, in_channels, key_channels=None):
        super().__init__()
        self.key_channels = in_channels if key_channels is None else key_channels

    def contrast(self, batch):
        self.batch = batch
        return dict(loss_tiny=batch.queries.square().mean())


@MODELS.register_module()
class TinyContrastOfQueries(TinyContrast):
    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels)
        self.key_channels = None


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def _config(head=None, backbone=None, **changes):
    head = dict(type='lt_mm.GMLClsHead', num_classes=4, in_channels=8) | (head or {})
    if head['type'] == 'lt_mm.GMLClsHead':
        head['contrast'] = GML | head.get('contrast', {})
    return copy.deepcopy(
        dict(
            type='lt_mm.LongTailClassifier',
            data_preprocessor=PREPROCESSOR,
            backbone=dict(type='TinyEncoder') | (backbone or {}),
            head=head,
        )
        | changes
    )


def _build(counts=(50, 30, 15, 5), **changes):
    model = MODELS.build(_config(**changes))
    for part in model.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(list(counts)))
    return model.train()


def _batch(views=3, images=4, labels=None, sizes=(16, 16, 16)):
    labels = torch.arange(images) % 4 if labels is None else torch.tensor(labels)
    samples = [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(int(label))
        for i, label in enumerate(labels)
    ]
    inputs = [torch.randn(images, 3, size, size) for size in sizes[:views]]
    return (inputs[0] if views == 1 else inputs), samples


@pytest.fixture(scope='session')
def config():
    """A function: changes (of ``head`` and ``backbone``: in depth) to the config of a model."""
    return _config


@pytest.fixture(scope='session')
def build():
    """A function: class counts and changes of the config to a model in training mode."""
    return _build


@pytest.fixture(scope='session')
def batch():
    """A function: (views, images, labels, sizes) to inputs and data samples."""
    return _batch


@pytest.fixture
def teacher(tmp_path, config):
    """A function: width of the features and changes to ``teacher``, of a plain classifier."""

    def save(width=8, num_classes=4, **changes):
        cfg = config(
            type='ImageClassifier',
            backbone=dict(width=width),
            head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=width),
            data_preprocessor={**PREPROCESSOR, **changes},
        )
        # mmpretrain's ImageClassifier cannot be given this preprocessor by config.
        cfg['data_preprocessor'] = dict(cfg['data_preprocessor'], type='ClsDataPreprocessor')
        model = MODELS.build(copy.deepcopy(cfg))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter))
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'teacher.pth')
        return dict(config=cfg, checkpoint=str(tmp_path / 'teacher.pth'))

    return save
