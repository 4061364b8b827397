"""Whatever happens while a checkpoint is saved, SafeCheckpointHook goes on from a whole one."""

import errno
import os
import pathlib
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from lt_mm.checkpoints import CodeInCheckpointError, read_checkpoint
from lt_mm.engine import saved_checkpoints
from lt_mm.engine.hooks import SafeCheckpointHook
from lt_mm.engine.hooks.safe_checkpoint_hook import CheckpointNotSavedError

KILLED = 9


class Numbers(BaseDataset):
    def load_data_list(self):
        return [{} for _ in range(4)]

    def prepare_data(self, idx):
        return torch.rand(2)


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, *data, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.layer(torch.stack(data)).square().mean())
        return [{}]


class Score(BaseMetric):
    """Better each time but the last."""

    default_prefix = 'score'
    scores = (1, 2, 3, 0)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.calls = getattr(self, 'calls', 0) + 1
        return dict(value=self.scores[self.calls - 1], other=-self.calls)


@pytest.fixture
def make(tmp_path, forget_mmengine):
    """A checkpoint, and perhaps a validation, every two iterations, which are an epoch."""

    def _make(work_dir='run', by_epoch=False, steps=8, resume=False, load_from=None, **hook):
        forget_mmengine()
        torch.manual_seed(0)
        hook = dict(type='lt_mm.SafeCheckpointHook', max_keep_ckpts=1, **hook)
        hook.update(by_epoch=by_epoch, interval=1 if by_epoch else 2)
        validating = hook.get('save_best') is not None
        length = dict(max_epochs=steps // 2) if by_epoch else dict(max_iters=steps)
        length['val_interval'] = 1 if by_epoch else 2
        sampler = dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)
        loader = dict(batch_size=2, num_workers=0, dataset=Numbers(), sampler=sampler)
        validation = dict(
            val_dataloader={**loader, 'sampler': dict(type='DefaultSampler', shuffle=False)},
            val_cfg=dict(),
            val_evaluator=Evaluator(Score()),
        )
        return Runner(
            model=Model(),
            work_dir=str(tmp_path / work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=by_epoch, **length),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=dict(type='LinearLR', by_epoch=by_epoch, end=20),
            default_hooks=dict(checkpoint=hook),
            custom_hooks=[dict(type='lt_mm.RandomStateHook')],
            randomness=dict(seed=0),
            resume=resume,
            load_from=load_from,
            log_level='WARNING',
            **(validation if validating else {}),
        )

    return _make


def in_a_child(run):
    """The exit status of a process that does this."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*args, **kwargs):
    os._exit(KILLED)


def die_at(window, step, name):
    """Let this process end where a checkpoint of that number is saved."""
    patch = pytest.MonkeyPatch()
    write, replace, delete = saved_checkpoints.write_whole, os.replace, SafeCheckpointHook._delete
    saved, label = Runner.save_checkpoint, name.format(step)

    def save(runner, out_dir, filename, *args, **kwargs):
        return die() if filename == label else saved(runner, out_dir, filename, *args, **kwargs)

    def write_half(path, content):
        if Path(path).name == label:
            Path(f'{path}.part').write_bytes(content[: len(content) // 2])
            die()
        write(path, content)

    def rename(source, target):
        last = label in Path(source).read_text(errors='replace')
        if Path(target).name == (label if window == 'after the write' else 'last_checkpoint'):
            if window == 'after the write' or last:
                die()
        replace(source, target)

    def remove(hook, path):
        # The one before has been deleted by then.
        return die() if label in hook.last_ckpt else delete(hook, path)

    if window == 'before':
        patch.setattr(Runner, 'save_checkpoint', save)
    elif window == 'half-way':
        patch.setattr(saved_checkpoints, 'write_whole', write_half)
    elif window in ('after the write', 'before last_checkpoint'):
        patch.setattr(os, 'replace', rename)
    else:
        patch.setattr(SafeCheckpointHook, '_delete', remove)


def state(path):
    content = read_checkpoint(path)
    return [content[key] for key in ('state_dict', 'optimizer', 'param_schedulers')]


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for pair in zip(left, right):
            assert_same(*pair)
    else:
        assert left == right


def checkpoints(folder):
    return sorted(path.name for path in Path(folder).iterdir() if '.pth' in path.name)


WINDOWS = ['before', 'half-way', 'after the write', 'before last_checkpoint', 'before deletion']


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('window', WINDOWS)
def test_killed_in_any_window_a_run_ends_as_one_left_alone(make, tmp_path, window, by_epoch):
    name, end = ('epoch_{}.pth', 4) if by_epoch else ('iter_{}.pth', 8)
    step = end // 2
    make('straight', by_epoch).train()

    def run():
        die_at(window, step, name)
        make('run', by_epoch).train()

    assert in_a_child(run) == KILLED
    written = window in ('before last_checkpoint', 'before deletion')
    resumed = make('run', by_epoch, resume=True)
    resumed.train()
    # It went on from the newest, and not from the start.
    assert resumed._load_from == str(
        tmp_path / 'run' / name.format(step if written else step - end // 4)
    )
    assert_same(*(state(tmp_path / run / name.format(end)) for run in ('straight', 'run')))
    assert checkpoints(tmp_path / 'run') == [name.format(end)]
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == name.format(end)


def test_what_it_saves_is_what_mmengine_saves(make, tmp_path, monkeypatch):
    make('ours', save_best='score/value', rule='greater').train()
    # Run by mmengine's own methods.
    for name in (
        'before_run',
        'before_train',
        '_save_checkpoint_with_step',
        '_save_best_checkpoint',
    ):
        monkeypatch.setattr(SafeCheckpointHook, name, getattr(CheckpointHook, name))
    make('theirs', save_best='score/value', rule='greater').train()
    assert checkpoints(tmp_path / 'ours') == checkpoints(tmp_path / 'theirs')
    for name in ('iter_8.pth', 'best_score_value_iter_6.pth'):
        ours, theirs = (read_checkpoint(tmp_path / run / name) for run in ('ours', 'theirs'))
        assert_same(ours['state_dict'], theirs['state_dict'])
        assert ours.keys() == theirs.keys() and ours['meta'].keys() == theirs['meta'].keys()
        assert ours['meta']['iter'] == theirs['meta']['iter']


@pytest.mark.parametrize('keep', [-1, 1, 2])
def test_as_many_are_kept_as_asked(make, tmp_path, keep, monkeypatch):
    runner = make(by_epoch=True)
    hook = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    hook.max_keep_ckpts = keep
    runner.train()
    names = [f'epoch_{number}.pth' for number in (1, 2, 3, 4)]
    assert checkpoints(tmp_path / 'run') == (names if keep < 0 else names[-keep:])


def damage(path, kind):
    content = path.read_bytes()
    path.unlink()
    if kind == 'a folder':
        path.mkdir()
    elif kind == 'no training':
        torch.save(dict(state_dict={}), path)
    else:
        path.write_bytes(
            {
                'cut off': content[: len(content) // 2],
                'zero bytes': b'',
                'garbage': b'garbage' * 100,
                'other bits': content.replace(b'param_schedulers', b'param_schedulexx'),
            }[kind]
        )


@pytest.mark.parametrize(
    'kind', ['cut off', 'zero bytes', 'garbage', 'other bits', 'no training', 'a folder']
)
def test_what_cannot_be_read_is_named_and_passed_over(make, tmp_path, caplog, kind):
    make('straight').train()
    runner = make(steps=6)
    hook = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    hook.max_keep_ckpts = -1
    runner.train()
    damage(tmp_path / 'run' / 'iter_6.pth', kind)
    shutil.copy(tmp_path / 'run' / 'iter_2.pth', tmp_path / 'run' / 'iter_10.pth.part')
    found, reasons = saved_checkpoints.resumable_checkpoint(tmp_path / 'run')
    assert found == str(tmp_path / 'run' / 'iter_4.pth')
    assert len(reasons) == (2 if kind == 'a folder' else 1)
    assert any('iter_6.pth' in reason for reason in reasons)
    if kind != 'a folder':
        make(resume=True).train()
        assert_same(*(state(tmp_path / run / 'iter_8.pth') for run in ('straight', 'run')))
        assert not (tmp_path / 'run' / 'iter_10.pth.part').exists()


def save(path, iteration, time=''):
    meta = dict(epoch=0, iter=iteration, time=time)
    torch.save(dict(state_dict={}, message_hub={}, meta=meta), path)
    return str(path)


def test_newest_means_iterations_and_not_names(tmp_path):
    for number in (9, 10, 100):
        save(tmp_path / f'iter_{number}.pth', number)
    # Best ones and published ones lack the optimizer's state.
    for name in ('best_mIoU_iter_200.pth', 'iter_200-0123abcd.pth', 'iter_.pth', 'notes.pth'):
        save(tmp_path / name, 200)
    find = saved_checkpoints.resumable_checkpoint
    assert find(tmp_path) == (str(tmp_path / 'iter_100.pth'), [])
    save(tmp_path / 'epoch_3.pth', 150)
    assert find(tmp_path) == (str(tmp_path / 'epoch_3.pth'), [])
    assert find(tmp_path, template='iter_{}.pth')[0] == str(tmp_path / 'iter_100.pth')


def test_a_later_iteration_of_an_earlier_run_is_not_gone_on_from(tmp_path):
    stale = save(tmp_path / 'iter_900.pth', 900, '20240101_000000')
    fresh = save(tmp_path / 'iter_20.pth', 20, '20240102_000000')
    (tmp_path / 'last_checkpoint').write_text('iter_20.pth')
    found, reasons = saved_checkpoints.resumable_checkpoint(tmp_path)
    assert found == fresh
    assert reasons == [f'{stale}: it was saved before {fresh}, by an earlier run']
    # One that is later in both was saved just before a kill.
    newest = save(tmp_path / 'iter_901.pth', 901, '20240102_000001')
    assert saved_checkpoints.resumable_checkpoint(tmp_path)[0] == newest


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        (b'', 'is empty'),
        (b' \n', 'is empty'),
        (b'/home/another/machine/iter_9.pth', 'another/machine/iter_9.pth'),
        (b'iter_9.pth', "'iter_9.pth', which is not there"),
        (bytes(range(256)) * 20, 'which is not there'),
        (None, 'directory'),
    ],
)
def test_last_checkpoint_may_say_anything(tmp_path, content, told):
    last = tmp_path / 'last_checkpoint'
    last.mkdir() if content is None else last.write_bytes(content)
    for find in (saved_checkpoints.resumable_checkpoint, saved_checkpoints.last_checkpoint):
        if find is saved_checkpoints.last_checkpoint:
            assert find(tmp_path) is None
            continue
        with pytest.raises(ValueError, match='No checkpoint in .* can be resumed from') as error:
            find(tmp_path)
        assert told in str(error.value) and str(last) in str(error.value)
    save(tmp_path / 'iter_3.pth', 3)
    found, reasons = saved_checkpoints.resumable_checkpoint(tmp_path)
    assert found == str(tmp_path / 'iter_3.pth') and told in reasons[0]
    assert saved_checkpoints.last_checkpoint(tmp_path) == found


def test_a_folder_without_any_is_begun_in(make, tmp_path):
    assert saved_checkpoints.resumable_checkpoint(tmp_path / 'none') == (None, [])
    make(resume=True, steps=2).train()
    assert checkpoints(tmp_path / 'run') == ['iter_2.pth']


def test_nothing_that_can_be_read_is_no_reason_to_begin_again(make, tmp_path):
    make(steps=2).train()
    (tmp_path / 'run' / 'iter_2.pth').write_bytes(b'')
    with pytest.raises(ValueError, match=r'iter_2\.pth.*delete what is named here to begin'):
        make(resume=True).train()
    assert checkpoints(tmp_path / 'run') == ['iter_2.pth']


def test_a_work_dir_may_be_moved_or_copied(make, tmp_path):
    make('straight', save_best='score/value', rule='greater').train()
    make('old', steps=4, save_best='score/value', rule='greater').train()
    shutil.copytree(tmp_path / 'old', tmp_path / 'new')
    # As mmengine's own hook writes it.
    (tmp_path / 'new' / 'last_checkpoint').write_text(str(tmp_path / 'old' / 'iter_4.pth'))
    before = checkpoints(tmp_path / 'old')
    runner = make('new', resume=True, save_best='score/value', rule='greater')
    runner.val_loop.evaluator.metrics[0].calls = 2
    runner.train()
    assert runner._load_from == str(tmp_path / 'new' / 'iter_4.pth')
    assert checkpoints(tmp_path / 'old') == before
    assert checkpoints(tmp_path / 'new') == checkpoints(tmp_path / 'straight')
    assert_same(*(state(tmp_path / run / 'iter_8.pth') for run in ('straight', 'new')))


def test_going_on_in_another_folder_deletes_nothing_of_either(make, tmp_path):
    make('other', steps=4).train()
    (tmp_path / 'run').mkdir()
    for number in (2, 4):
        (tmp_path / 'run' / f'iter_{number}.pth').write_text('of somebody')
    make(resume=True, load_from=str(tmp_path / 'other' / 'iter_4.pth')).train()
    assert checkpoints(tmp_path / 'other') == ['iter_4.pth']
    assert checkpoints(tmp_path / 'run') == ['iter_2.pth', 'iter_4.pth', 'iter_8.pth']


def test_another_folder_for_checkpoints(make, tmp_path):
    where = dict(out_dir=str(tmp_path / 'out'))
    make('straight').train()
    make(steps=4, **where).train()
    kept = tmp_path / 'out' / 'run' / 'iter_4.pth'
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == str(kept)
    (tmp_path / 'run' / 'last_checkpoint').write_text('')
    make(resume=True, **where).train()
    assert checkpoints(kept.parent) == ['iter_8.pth']
    assert_same(state(tmp_path / 'straight' / 'iter_8.pth'), state(kept.with_name('iter_8.pth')))


@pytest.mark.parametrize('save_best', ['score/value', ['score/value', 'score/other']])
def test_the_old_best_goes_when_the_new_one_is_there(make, tmp_path, monkeypatch, save_best):
    delete, seen = SafeCheckpointHook._delete, []

    def look(hook, path):
        if 'best' in Path(path).name:
            seen.append((Path(path).name, checkpoints(tmp_path / 'run')))
            best = read_checkpoint(tmp_path / 'run' / Path(hook.last_ckpt).name)['message_hub']
            # A resumed run knows of the new one already.
            assert path not in best['runtime_info'].values()
        return delete(hook, path)

    monkeypatch.setattr(SafeCheckpointHook, '_delete', look)
    make(save_best=save_best, rule='greater').train()
    for old, there in seen:
        assert old in there and len([name for name in there if 'value' in name]) == 2
    assert [old for old, _ in seen] == [f'best_score_value_iter_{n}.pth' for n in (2, 4)]
    best = [name for name in checkpoints(tmp_path / 'run') if name.startswith('best')]
    expected = ['best_score_value_iter_6.pth']
    assert best == (
        expected if save_best == 'score/value' else ['best_score_other_iter_2.pth', *expected]
    )


def test_what_is_published(make, tmp_path):
    make(save_best='score/value', rule='greater', published_keys=['meta', 'state_dict']).train()
    there = checkpoints(tmp_path / 'run')
    published = [name for name in there if re.search(r'-[0-9a-f]{8}\.pth$', name)]
    assert [name[:-13] for name in published] == ['best_score_value_iter_6', 'iter_8']
    assert len(there) == 4
    for name in published:
        content = read_checkpoint(tmp_path / 'run' / name)
        assert content.keys() == {'meta', 'state_dict'}
        whole = read_checkpoint(tmp_path / 'run' / f'{name[:-13]}.pth')
        assert_same(content['state_dict'], whole['state_dict'])


def full_disk(monkeypatch, wanted):
    """No room for a file of that name."""
    sync = os.fsync

    def fsync(descriptor):
        if Path(os.readlink(f'/proc/self/fd/{descriptor}')).name == f'{wanted}.part':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return sync(descriptor)

    monkeypatch.setattr(os, 'fsync', fsync)


@pytest.mark.parametrize(
    'name', ['iter_4.pth', 'last_checkpoint', 'best_score_value_iter_4.pth', 'iter_2.pth']
)
def test_a_full_disk_leaves_what_was_there(make, tmp_path, monkeypatch, name):
    settings = dict(save_best='score/value', rule='greater')
    make('straight', **settings).train()
    with monkeypatch.context() as patch:
        full_disk(patch, name)
        with pytest.raises(CheckpointNotSavedError, match=name) as error:
            make(**settings).train()
    assert error.value.errno == errno.ENOSPC and 'No space left' in str(error.value)
    assert not list((tmp_path / 'run').glob('*.part'))
    remains = 'iter_4.pth is whole' if 'best' in name else 'iter_2.pth is whole'
    first = name in ('iter_2.pth', 'last_checkpoint')
    assert ('make room and start again' if name == 'iter_2.pth' else remains) in str(error.value)
    if not first:
        assert (tmp_path / 'run' / 'best_score_value_iter_2.pth').exists()
    runner = make(resume=True, **settings)
    runner.val_loop.evaluator.metrics[0].calls = 0 if first else 1 + ('best' in name)
    runner.train()
    assert_same(*(state(tmp_path / run / 'iter_8.pth') for run in ('straight', 'run')))


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.trace),)


def test_code_in_the_newest_is_refused_by_name(make, tmp_path):
    make(steps=4).train()
    path = tmp_path / 'run' / 'iter_4.pth'
    content = read_checkpoint(path)
    content['meta']['author'] = Bomb(tmp_path / 'trace')
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'iter_4\.pth.*needs .*--trust-checkpoint'):
        make(resume=True).train()
    with pytest.raises(CodeInCheckpointError):
        saved_checkpoints.resumable_checkpoint(tmp_path / 'run')
    assert not (tmp_path / 'trace').exists()


def resume_on(rank, folder):
    """What a rank goes on from: nothing, a whole checkpoint before a damaged one, none of three."""
    chosen = []
    for damaged in ([], ['iter_8.pth'], ['iter_4.pth', 'iter_6.pth', 'iter_8.pth']):
        if rank == 0:
            for name in damaged:
                path = Path(folder, name)
                path.write_bytes(path.read_bytes()[:1000])
        torch.distributed.barrier()
        runner = Runner(
            model=Model(),
            work_dir=folder,
            train_dataloader=dict(
                batch_size=2, num_workers=0, dataset=Numbers(),
                sampler=dict(type='InfiniteSampler', shuffle=True),
            ),
            train_cfg=dict(by_epoch=False, max_iters=8),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(
                checkpoint=dict(
                    type='lt_mm.SafeCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=3
                )
            ),
            resume=True,
            randomness=dict(seed=0),
            experiment_name=f'run {len(chosen)}',
            log_level='ERROR',
        )  # fmt: skip
        try:
            runner.train()
            chosen.append(runner._load_from and Path(runner._load_from).name)
        except ValueError as error:
            chosen.append(str(error))
    return chosen


def test_two_ranks_go_on_from_the_same_checkpoint(two_ranks, tmp_path):
    first, second = two_ranks(resume_on, str(tmp_path / 'run'))
    assert first == second
    assert first[:2] == [None, 'iter_6.pth']
    assert 'can be resumed from' in first[2]
    assert checkpoints(tmp_path / 'run') == ['iter_4.pth', 'iter_6.pth', 'iter_8.pth']
