import copy
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset, CityscapesDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.evaluation import IoUMetric
from mmseg.models import CrossEntropyLoss
from PIL import Image
from scipy import sparse

from lt_mm.datasets.class_counting import SampleCounts
from lt_mm.engine.hooks import ClassCountsHook
from lt_mm.evaluation import CalibrationError, ExpertAccuracy, LongTailAccuracy, LongTailIoUMetric
from lt_mm.evaluation.per_class import check_names_of_figures
from lt_mm.models.losses import LDAMLoss, LogitAdjustedLoss, WeightedCrossEntropyLoss
from lt_mm.registry import HOOKS
from lt_mm.structures import ClassCounts

CLASSES = ('sky', 'tree', 'pole')
PIXELS, IMAGES = [18, 10, 2], [4, 4, 1]


class Counter(torch.nn.Module):
    """A module with class counts, as the losses of the package are."""

    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))
        self.received = []

    def set_class_counts(self, class_counts):
        class_counts.validate(len(self.counts), 'the counter')
        self.received.append(class_counts)
        self.counts.copy_(class_counts.counts)


class ToyModel(BaseModel):
    def __init__(self, num_classes=3, with_counter=True):
        super().__init__()
        self.steps = 0
        self.head = torch.nn.Sequential(torch.nn.Linear(1, 1))
        if with_counter:
            self.head.append(Counter(num_classes))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.steps += mode == 'loss'
        loss = self.head[0](torch.ones(1, 1)).sum()
        return dict(loss=loss) if mode == 'loss' else [dict()]

    @property
    def counter(self):
        return self.head[1]


class SeenMeta(BaseMetric):
    """A metric that keeps the meta information it was shown."""

    default_prefix = 'seen'

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.seen = self.dataset_meta
        return {}


class SegDataset(BaseSegDataset):
    """Maps on disk, and samples that do not read any."""

    def prepare_data(self, idx):
        return dict(inputs=torch.zeros(1))


class LabelDataset(BaseDataset):
    def __init__(self, labels):
        self._labels = labels
        super().__init__(metainfo=dict(classes=CLASSES))

    def load_data_list(self):
        return [dict(gt_label=label) for label in self._labels]

    def prepare_data(self, idx):
        return dict(inputs=torch.zeros(1))


@pytest.fixture
def folder(tmp_path):
    """Four maps of 8 pixels whose counts are PIXELS and IMAGES, 2 pixels ignored."""
    labels = np.zeros((4, 8), dtype=np.uint8)
    labels[:, :2], labels[0, :4], labels[1, 2], labels[1, 6:] = 1, 1, 2, 255
    labels[1, 3] = 2
    for part in ('img', 'ann'):
        (tmp_path / part).mkdir()
    for i, row in enumerate(labels):
        Image.new('RGB', (4, 2)).save(tmp_path / 'img' / f'{i}.jpg')
        Image.fromarray(row.reshape(2, 4)).save(tmp_path / 'ann' / f'{i}.png')
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """Names of the maps that were read."""
    names, load = [], LoadAnnotations.transform

    def transform(self, results):
        names.append(Path(results['seg_map_path']).name)
        return load(self, results)

    monkeypatch.setattr(LoadAnnotations, 'transform', transform)
    return names


def maps(folder, classes=CLASSES):
    return SegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=classes),
    )


def make_runner(
    folder,
    dataset,
    hook,
    model=None,
    work_dir='run',
    by_epoch=False,
    more_hooks=(),
    sampler=None,
    **kwargs,
):
    def loader(data):
        return dict(
            dataset=data,
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        )

    training = loader(dataset)
    training.update(sampler=sampler or training['sampler'])
    length = dict(max_epochs=1) if by_epoch else dict(max_iters=2, val_interval=2)
    stages = dict(
        val_dataloader=loader(dataset),
        val_cfg=dict(),
        val_evaluator=Evaluator(SeenMeta()),
        test_dataloader=loader(dataset),
        test_cfg=dict(),
        test_evaluator=Evaluator(SeenMeta()),
    )
    return Runner(
        model=model or ToyModel(),
        work_dir=str(folder / 'work_dirs' / work_dir),
        train_dataloader=training,
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=2)),
        custom_hooks=[hook, *more_hooks],
        experiment_name=f'{folder.name}_{work_dir}_{id(hook)}',
        log_level='WARNING',
        **stages,
        **kwargs,
    )


def seen(runner, stage='val'):
    counts = getattr(runner, f'{stage}_evaluator').metrics[0].seen.get('class_counts')
    return counts.counts.tolist() if isinstance(counts, ClassCounts) else counts


@pytest.mark.parametrize('by_epoch', [False, True])
def test_counts_of_maps_reach_modules_metrics_and_cache(folder, by_epoch):
    runner = make_runner(
        folder, maps(folder), dict(type='lt_mm.ClassCountsHook'), by_epoch=by_epoch
    )
    runner.train()
    counter = runner.model.counter
    assert counter.counts.tolist() == PIXELS
    assert (counter.received[0].unit, counter.received[0].class_names) == ('pixels', CLASSES)
    assert seen(runner) == PIXELS
    (cached,) = (folder / 'work_dirs' / 'class_counts').iterdir()
    assert cached.name.startswith('SegDataset_') and cached.suffix == '.npz'


def test_the_second_run_reads_no_map(folder, read):
    make_runner(folder, maps(folder), ClassCountsHook()).train()
    assert sorted(read) == [f'{i}.png' for i in range(4)]
    read.clear()
    for unit, expected in (('pixels', PIXELS), ('images', IMAGES)):
        runner = make_runner(folder, maps(folder), ClassCountsHook(unit=unit), work_dir=unit)
        runner.train()
        assert runner.model.counter.counts.tolist() == expected
    assert read == []


@pytest.mark.parametrize('sampler', ['RepeatFactorSampler', 'RareClassSampler', 'DefaultSampler'])
@pytest.mark.parametrize('writable', [True, False])
@pytest.mark.parametrize('elsewhere', [True, False])
def test_sampler_and_hook_read_each_map_once_between_them(
    folder, read, sampler, writable, elsewhere, monkeypatch
):
    """Wherever the sampler keeps its counts, and even if nothing can be kept."""
    settings = dict(type='DefaultSampler', shuffle=True)
    places = [folder / 'work_dirs' / 'class_counts']
    if sampler != 'DefaultSampler':
        places = [folder / 'elsewhere'] if elsewhere else places
        settings = dict(type=f'lt_mm.{sampler}', cache_dir=str(places[0]))
    if not writable:
        places[0].parent.mkdir(exist_ok=True)
        places[0].write_text('no folder')
    runner = make_runner(folder, maps(folder), ClassCountsHook(), sampler=settings)
    runner.train()
    assert sorted(read) == [f'{i}.png' for i in range(4)]
    assert runner.model.counter.counts.tolist() == PIXELS
    kept = list(folder.rglob('SegDataset_*'))
    assert [file.parent for file in kept] == places * writable


def test_a_relabelled_set_is_counted_anew(folder):
    make_runner(folder, maps(folder), ClassCountsHook()).train()
    Image.new('L', (4, 2)).save(folder / 'ann' / '1.png')
    os.utime(folder / 'ann' / '1.png', (1, 1))
    runner = make_runner(folder, maps(folder), ClassCountsHook(), work_dir='another')
    runner.train()
    assert runner.model.counter.counts.tolist() == [PIXELS[0] + 8 - 2, PIXELS[1] - 2, 0]


def test_other_ranks_take_what_rank_0_counted(folder, monkeypatch):
    table = sparse.csr_array([[8, 7, 0], [0, 0, 6]])
    sent = SampleCounts(table, 'pixels', CLASSES)
    module = 'lt_mm.datasets.class_counting'
    monkeypatch.setattr(f'{module}.is_main_process', lambda: False)
    monkeypatch.setattr(
        f'{module}.broadcast_object_list',
        lambda data, src=0: data.__setitem__(0, dict(is_done=True, found=sent, error=None)),
    )
    monkeypatch.setattr(f'{module}.is_distributed', lambda: True)
    runner = make_runner(folder, maps(folder), ClassCountsHook())
    shutil.rmtree(folder / 'ann')
    runner.train()
    assert runner.model.counter.received == [ClassCounts([8, 7, 6], CLASSES, 'pixels')] * 2


def test_labels_are_counted_and_not_cached(folder):
    runner = make_runner(folder, LabelDataset([0, 2, 2, 2]), ClassCountsHook())
    runner.train()
    assert runner.model.counter.counts.tolist() == [1, 0, 3]
    assert runner.model.counter.received[0].unit == 'images'
    assert not (folder / 'work_dirs' / 'class_counts').exists()


@pytest.mark.parametrize('form', [list, tuple, ClassCounts, 'path'])
def test_given_counts_are_used_without_counting(folder, form):
    given = folder / 'mine.json' if form == 'path' else form([7, 0, 2])
    if form == 'path':
        ClassCounts([7, 0, 2]).save(given)
        given = str(given)
    dataset = maps(folder)
    shutil.rmtree(folder / 'ann')
    runner = make_runner(folder, dataset, dict(type='lt_mm.ClassCountsHook', class_counts=given))
    runner.train()
    assert runner.model.counter.counts.tolist() == [7, 0, 2]
    if form in (list, tuple):
        assert runner.model.counter.received[0].unit == 'pixels'
    assert seen(runner) == [7, 0, 2]


def test_packaged_counts_by_name(folder):
    runner = make_runner(
        folder,
        maps(folder, CityscapesDataset.METAINFO['classes']),
        ClassCountsHook('cityscapes_images'),
        ToyModel(num_classes=19),
    )
    runner.train()
    expected = ClassCounts.load('cityscapes_images')
    assert torch.equal(runner.model.counter.counts, expected.counts)


def test_counts_of_other_classes_are_refused_unless_given_as_numbers(folder):
    hook = ClassCountsHook(ClassCounts([1, 2, 3], ['a', 'b', 'c'], 'pixels', name='old'))
    with pytest.raises(ValueError, match="'old' are of other classes than the training set: 'a'"):
        make_runner(folder, maps(folder), hook).train()


def test_counts_of_the_same_classes_are_put_in_order(folder):
    given = ClassCounts([1, 2, 3], [CLASSES[1], CLASSES[2], CLASSES[0]], 'pixels')
    runner = make_runner(folder, maps(folder), ClassCountsHook(given))
    runner.train()
    assert runner.model.counter.counts.tolist() == [3, 1, 2]
    assert seen(runner) == [3, 1, 2]


@pytest.mark.parametrize('given', [None, [7, 0, 2]])
def test_a_head_of_other_classes_is_named_whatever_its_loss(folder, given):
    model = ToyModel(with_counter=False)
    model.decode_head = torch.nn.Identity()
    model.decode_head.num_classes = 5
    runner = make_runner(folder, maps(folder), ClassCountsHook(given), model)
    message = (
        r"3 classes but 'decode_head' \(Identity\) has 5: use the counts of the data.*or set num_"
    )
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_classes_without_a_training_sample_are_named_once(folder, caplog):
    runner = make_runner(folder, maps(folder), ClassCountsHook([7, 0, 2]))
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert caplog.text.count('1 of 3 classes have no training sample: 1') == 1


BALANCED = dict(type='lt_mm.ClassAwareSampler')
INVERSE = dict(type='inverse')


@pytest.mark.parametrize(
    'hooks',
    [['ClassCountsHook'], ['TrainingGuardHook'], ['TrainingGuardHook', 'ClassCountsHook']],
)
@pytest.mark.parametrize(
    ('loss', 'sampler', 'warned'),
    [
        (WeightedCrossEntropyLoss(class_weight=INVERSE), BALANCED, True),
        (LDAMLoss(class_weight=[1.0, 2.0, 4.0]), BALANCED, True),
        (CrossEntropyLoss(class_weight=[1.0, 2.0, 4.0]), BALANCED, True),
        (
            WeightedCrossEntropyLoss(class_weight=INVERSE),
            dict(type='lt_mm.ProgressivelyBalancedSampler', epochs=2),
            True,
        ),
        (CrossEntropyLoss(class_weight=np.array([1.0, 2.0, 4.0])), BALANCED, True),
        (
            WeightedCrossEntropyLoss(class_weight=INVERSE),
            dict(type='lt_mm.ProgressivelyBalancedSampler', epochs=2, infinite=True),
            True,
        ),
        (
            WeightedCrossEntropyLoss(class_weight=INVERSE),
            dict(type='lt_mm.RepeatFactorSampler', threshold=1e-9),
            False,
        ),
        (
            WeightedCrossEntropyLoss(class_weight=INVERSE),
            dict(type='DefaultSampler', shuffle=True),
            False,
        ),
        (LogitAdjustedLoss(), BALANCED, False),
        (CrossEntropyLoss(class_weight=[1.0, 1.0, 1.0]), BALANCED, False),
        (WeightedCrossEntropyLoss(class_weight=dict(INVERSE, power=0.0)), BALANCED, False),
    ],
)
def test_class_weights_behind_a_sampler_that_balances_are_warned_of_once(
    folder, caplog, hooks, loss, sampler, warned
):
    model = ToyModel(with_counter=False)
    model.head.loss = loss
    dataset = LabelDataset([0] * 6 + [1] * 2 + [2])
    first, *others = [dict(type=f'lt_mm.{name}') for name in hooks]
    runner = make_runner(folder, dataset, first, model, more_hooks=others, sampler=sampler)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    said = [record.message for record in caplog.records if 'Class weights of' in record.message]
    assert len(said) == warned
    for message in said:
        assert f"'head.loss' ({type(loss).__name__}) stand behind {sampler['type'][6:]}" in message


def test_a_metric_of_ours_beside_the_one_that_it_extends_is_refused_at_the_start():
    long_tailed, plain = LongTailIoUMetric(), IoUMetric()
    for pair in ((long_tailed, plain), (plain, long_tailed), (long_tailed, LongTailIoUMetric())):
        with pytest.raises(ValueError, match="same names, such as 'aAcc': leave out"):
            check_names_of_figures(pair)
    calibrations = CalibrationError(), CalibrationError(num_bins=10)
    with pytest.raises(ValueError, match="same names, such as 'calibration/ECE'"):
        check_names_of_figures((long_tailed, *calibrations))


def test_metrics_of_figures_of_their_own_stand_together():
    long_tailed = LongTailIoUMetric()
    check_names_of_figures((long_tailed, IoUMetric(prefix='plain')))
    check_names_of_figures((long_tailed, CalibrationError(), CalibrationError(prefix='other')))
    # One that writes predictions has no figures.
    check_names_of_figures((long_tailed, IoUMetric(format_only=True, output_dir='unused')))

    class Own(IoUMetric):
        def compute_metrics(self, results):
            return dict(boundary=0.0)

    check_names_of_figures((long_tailed, Own()))


def test_metrics_of_classifiers_are_told_apart_by_their_figures():
    evaluation = pytest.importorskip('mmpretrain.evaluation')
    accuracy, long_tailed = evaluation.Accuracy, LongTailAccuracy()
    for other in (accuracy(), accuracy(topk=(3, 5)), ExpertAccuracy(), LongTailAccuracy()):
        with pytest.raises(ValueError, match=f"{type(other).__name__} and LongTail.*'accuracy/top"):
            check_names_of_figures((other, long_tailed))
    several = evaluation.SingleLabelMetric(), evaluation.SingleLabelMetric(average=None)
    for others in (
        [accuracy(prefix='plain')],
        [accuracy(topk=3)],
        [accuracy(thrs=(0.5, 0.7))],
        several,
        [evaluation.SingleLabelMetric(prefix='accuracy')],
    ):
        check_names_of_figures((*others, long_tailed))


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_figures_of_the_same_names_end_a_run_before_its_first_image(folder, stage):
    runner = make_runner(folder, maps(folder), ClassCountsHook([7, 0, 2]))
    evaluator = Evaluator([LongTailIoUMetric(), IoUMetric()])
    runner._val_evaluator = runner._test_evaluator = evaluator
    runner.model.forward = None
    with pytest.raises(ValueError, match="LongTailIoUMetric and IoUMetric .*'aAcc'"):
        getattr(runner, stage)()


@pytest.mark.parametrize(
    ('metric', 'name'),
    [(LongTailAccuracy, 'top1'), (LongTailAccuracy, 'macro'), (CalibrationError, 'classwise')],
)
def test_a_group_called_like_a_figure_is_refused(metric, name):
    with pytest.raises(ValueError, match=f'groups of .* have one called .{name}'):
        metric(groups=dict(lists={name: [0], 'rest': [1]}))


def test_training_counts_win_over_those_of_a_loaded_checkpoint(folder):
    make_runner(folder, maps(folder), ClassCountsHook([1, 1, 5])).train()
    runner = make_runner(
        folder,
        maps(folder),
        ClassCountsHook(),
        work_dir='stage2',
        load_from=str(folder / 'work_dirs' / 'run' / 'iter_2.pth'),
    )
    runner.train()
    assert runner.model.counter.counts.tolist() == PIXELS
    assert seen(runner) == PIXELS


def test_a_resumed_run_keeps_its_counts(folder, forget_mmengine):
    make_runner(folder, maps(folder), ClassCountsHook()).train()
    forget_mmengine()
    runner = make_runner(folder, maps(folder), ClassCountsHook(), resume=True)
    runner.train_loop._max_iters = 6
    runner.train()
    assert (runner.iter, runner.model.steps) == (6, 4)
    assert runner.model.counter.counts.tolist() == PIXELS
    assert seen(runner) == PIXELS


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_a_test_run_leaves_the_model_alone_and_informs_metrics(folder, stage):
    dataset = maps(folder)
    make_runner(folder, dataset, ClassCountsHook()).train()
    shutil.rmtree(folder / 'work_dirs' / 'class_counts')
    shutil.rmtree(folder / 'ann')
    checkpoint = str(folder / 'work_dirs' / 'run' / 'iter_2.pth')
    runner = make_runner(folder, dataset, ClassCountsHook(), work_dir='t', load_from=checkpoint)
    getattr(runner, stage)()
    assert runner.model.counter.received == []
    assert runner.model.counter.counts.tolist() == PIXELS
    assert seen(runner, stage) == PIXELS


def test_counts_given_for_a_test_win_over_those_of_the_checkpoint(folder):
    make_runner(folder, maps(folder), ClassCountsHook()).train()
    checkpoint = str(folder / 'work_dirs' / 'run' / 'iter_2.pth')
    runner = make_runner(
        folder, maps(folder), ClassCountsHook([3, 2, 1]), work_dir='t', load_from=checkpoint
    )
    runner.test()
    assert seen(runner, 'test') == [3, 2, 1]
    assert runner.model.counter.counts.tolist() == PIXELS


def test_a_test_without_any_counts_runs(folder):
    runner = make_runner(folder, maps(folder), ClassCountsHook())
    runner.test()
    assert seen(runner, 'test') is None


def test_counts_in_the_meta_information_of_the_data_set_are_kept(folder):
    dataset = SegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=CLASSES, class_counts=[9, 9, 9]),
    )
    runner = make_runner(folder, dataset, ClassCountsHook())
    runner.train()
    assert seen(runner) == [9, 9, 9]
    assert runner.model.counter.counts.tolist() == PIXELS


def test_a_wrapped_model_is_unwrapped(folder):
    """MMDistributedDataParallel needs a process group; its child on one process does not."""

    @MODEL_WRAPPERS.register_module(force=True)
    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    runner = make_runner(folder, maps(folder), ClassCountsHook())
    runner.train_loop
    runner.model = Wrapper(ToyModel(num_classes=2))
    with pytest.raises(ValueError, match=r"^'head\.1' \(Counter\) does not accept"):
        runner.call_hook('before_train')


def test_a_module_of_other_classes_is_named(folder):
    runner = make_runner(folder, maps(folder), ClassCountsHook(), ToyModel(num_classes=5))
    with pytest.raises(
        ValueError,
        match=r"'head\.1' \(Counter\) does not accept .*have 3 classes but the "
        'counter has 5',
    ):
        runner.train()


def test_a_model_that_takes_no_counts_is_warned_about(folder, caplog):
    runner = make_runner(folder, maps(folder), ClassCountsHook(), ToyModel(with_counter=False))
    runner.logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        runner.train()
    assert 'leaves ToyModel as it is, because none of its modules has set_class' in caplog.text
    assert seen(runner) == PIXELS


def test_counts_come_before_other_hooks():
    hook = HOOKS.build(dict(type='ClassCountsHook', class_counts=[1, 2]))
    assert hook.priority == 'VERY_HIGH'


def test_a_copy_made_before_the_run_has_the_counts(folder):
    """As mmengine's EMAHook makes one, whose buffers it then copies pair by pair."""
    copies = []

    class Copier(Hook):
        def before_run(self, runner):
            copies.append(copy.deepcopy(runner.model))

    for start in ('test', 'train'):
        runner = make_runner(
            folder, maps(folder), ClassCountsHook(), work_dir=start, more_hooks=[Copier()]
        )
        getattr(runner, start)()
    assert [model.counter.counts.tolist() for model in copies] == [[0, 0, 0], PIXELS]


def test_invalid_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="'ade20k_images' are images, but unit='pixels'"):
        ClassCountsHook('ade20k_images', unit='pixels')
    with pytest.raises(FileNotFoundError, match='neither packaged nor a file'):
        ClassCountsHook('nowhere.json')
    with pytest.raises(ValueError, match='class 1 has -1'):
        ClassCountsHook([1, -1])


def test_a_unit_that_cannot_be_counted_is_refused(folder):
    for dataset, unit in ((maps(folder), 'instances'), (LabelDataset([0]), 'pixels')):
        runner = make_runner(folder, dataset, ClassCountsHook(unit=unit), work_dir=unit)
        with pytest.raises(ValueError, match=f"unit='{unit}' cannot be counted"):
            runner.train()
