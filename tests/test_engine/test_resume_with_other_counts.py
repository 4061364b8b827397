"""A run resumed on another training set: what depends on the class counts starts anew."""

import copy
import warnings

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample

from lt_mm.checkpoints import load_weights
from lt_mm.functional import log_prior, queue_lengths

A, B, A_TENFOLD = [70, 20, 10], [5, 15, 80], [700, 200, 100]
SLOTS = dict(size=60, min_size=4)
MODEL = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(16, 16)),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=1,
        out_indices=(0,),
        strides=(1,),
        dilations=(1,),
        stem_channels=4,
        base_channels=4,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        type='lt_mm.GMLFCNHead',
        in_channels=4,
        in_index=0,
        channels=6,
        num_convs=1,
        concat_input=False,
        num_classes=3,
        norm_cfg=dict(type='BN'),
        contrast=dict(**SLOTS, widths=(5,)),
    ),
)


class Scenes(torch.utils.data.Dataset):
    """Random images whose labels are random as well."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        labels = PixelData(data=torch.randint(3, (1, 16, 16)))
        sample = SegDataSample(gt_sem_seg=labels, metainfo=dict(img_path=f'{index}.png'))
        return dict(inputs=torch.randint(256, (3, 16, 16), dtype=torch.uint8), data_samples=sample)


def run(folder, counts, iterations, **kwargs):
    init_default_scope('mmseg')
    runner = Runner(
        model=copy.deepcopy(MODEL),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=Scenes(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        ),
        log_processor=dict(by_epoch=False, window_size=1),
        custom_hooks=[dict(type='lt_mm.ClassCountsHook', class_counts=counts)],
        default_scope='mmseg',
        experiment_name=f'{folder.name}_{iterations}_{id(kwargs)}',
        log_level='WARNING',
        **kwargs,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model = runner.train()
    return runner, model, [str(warning.message) for warning in caught]


@pytest.fixture
def first(tmp_path, forget_mmengine):
    """Two iterations with counts A, and the checkpoint they leave."""
    torch.manual_seed(0)
    _, model, caught = run(tmp_path / 'run', A, 2)
    assert not any('is emptied' in text for text in caught)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert state['decode_head.contrast.queue.filled'].any()
    forget_mmengine()
    return tmp_path / 'run', state


class SeenBeforeTheFirstStep:
    """What the model holds when the first of the resumed iterations begins."""

    def __init__(self, monkeypatch):
        self.states, self.losses = [], []
        original = EncoderDecoder.loss

        def loss(model, *args):
            self.states.append({name: v.clone() for name, v in model.state_dict().items()})
            self.losses.append(original(model, *args))
            return self.losses[-1]

        monkeypatch.setattr(EncoderDecoder, 'loss', loss)


@pytest.mark.parametrize('how', ['resume', 'load_from'])
def test_other_counts_empty_the_queue_and_move_the_prior(first, monkeypatch, how):
    folder, before = first
    seen = SeenBeforeTheFirstStep(monkeypatch)
    if how == 'resume':
        runner, model, caught = run(folder, B, 4, resume=True)
        assert (runner.iter, len(seen.losses)) == (4, 2)
    else:
        checkpoint = str(folder / 'iter_2.pth')
        _, model, caught = run(folder.parent / 'stage2', B, 2, load_from=checkpoint)
    told = [text for text in caught if 'other class counts than before' in text]
    assert told == ['other class counts than before: the class queue is emptied.']
    start = seen.states[0]
    for name in ('backbone.stem.0.weight', 'decode_head.contrast.key_mlp.layers.0.weight'):
        assert torch.equal(start[name], before[name]), 'the checkpoint was not loaded'
    lengths = queue_lengths(B, **SLOTS)
    assert not start['decode_head.contrast.queue.filled'].any()
    assert not start['decode_head.contrast.queue.positions'].any()
    assert start['decode_head.contrast.queue.lengths'].tolist() == lengths.tolist()
    for module in (model.decode_head.contrast, model.decode_head.loss_decode):
        assert module.class_counts.counts.tolist() == B
        torch.testing.assert_close(module.class_counts.log_prior, log_prior(B))
    assert model.decode_head.contrast.queue.filled.any()
    for losses in seen.losses:
        assert all(value.isfinite().all() for value in losses.values())
        assert losses['decode.loss_gml'] > 0
    assert all(value.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize('counts', [A, A_TENFOLD])
def test_counts_of_the_same_shares_keep_the_queue(first, monkeypatch, counts):
    folder, before = first
    seen = SeenBeforeTheFirstStep(monkeypatch)
    _, model, caught = run(folder, counts, 4, resume=True)
    assert not any('is emptied' in text for text in caught)
    for name in ('features', 'ids', 'lengths', 'positions', 'filled'):
        name = f'decode_head.contrast.queue.{name}'
        assert torch.equal(seen.states[0][name], before[name]), name
    assert model.decode_head.contrast.class_counts.counts.tolist() == counts


def test_counts_of_other_classes_end_the_resumed_run(first):
    folder, _ = first
    with pytest.raises(ValueError, match=r"'decode_head\.\w+.* does not accept .*have 4 classes"):
        run(folder, [1, 2, 3, 4], 4, resume=True)


def test_checkpoint_of_a_run_is_a_teachers_checkpoint(first):
    """With its histories, optimizer and meta information, and without running anything."""
    folder, before = first
    weights = load_weights(folder / 'iter_2.pth')
    assert weights.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in weights.items())
