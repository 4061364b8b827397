"""tools/train.py on a config that names earlier stages: one command, broken off and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.distributed.elastic.utils.distributed import get_free_port

ADDED = """
randomness = dict(seed=3)
train_cfg = dict(by_epoch=True, max_epochs=2)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1))
custom_hooks = [dict(type='lt_mm.RandomStateHook'), dict(type='BreakOff')]
visualizer = dict(
    type='UniversalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')])
"""
LAST = """
_base_ = 'first.py'
earlier_stages = dict(
    start=dict(config='{{ fileDirname }}/first.py', gives='weights', to='middle'),
    middle=dict(config='{{ fileDirname }}/first.py', gives='weights'))
"""


@HOOKS.register_module()
class BreakOff(Hook):
    """Raise in the iteration of the folder of that name."""

    at = None

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if self.at == (os.path.basename(runner.work_dir), runner.iter):
            raise InterruptedError


@pytest.fixture(scope='module')
def home(tmp_path_factory, write_config):
    home = tmp_path_factory.mktemp('home')
    folders = dict(cat=256, dog=256)
    path = home / 'first.py'
    write_config(path, 'tiny_classification.py', folders, home / 'data')
    path.write_text(path.read_text() + ADDED)
    (home / 'last.py').write_text(LAST)
    return home


@pytest.fixture
def train(run_tool, home, capsys):
    """Train a config in a folder; return what was said of the stages."""

    def run(work_dir, *arguments, options=(), config='last.py'):
        options = ['--cfg-options', *options] if options else []
        try:
            run_tool('train.py', config, '--work-dir', work_dir, *arguments, *options, cwd=home)
        finally:
            said = capsys.readouterr().out.splitlines()
        return [line.replace(str(home), '~') for line in said if line.startswith('stage ')]

    return run


@pytest.fixture(scope='module')
def straight(home, run_tool):
    """The folder of a run that nothing broke off."""
    run_tool('train.py', 'last.py', '--work-dir', 'straight', cwd=home)
    return home / 'straight'


def load(path):
    return torch.load(path, weights_only=False)


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def logged(folder):
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line['step'] for line in lines if 'loss' in line]


def test_all_stages_are_trained_apart_and_in_order(straight):
    # All three begin within a second or two, from configs with one name of a visualizer.
    for name in ('start', 'middle', ''):
        assert logged(straight / name) == [1, 2, 3, 4, 5, 6]
        scalars = load(straight / name / 'epoch_2.pth')['message_hub']['log_scalars']
        assert len(scalars['train/loss'].data[0]) == 6
    for giver, taker in (('start', 'middle'), ('middle', '')):
        logs = [path.read_text() for path in (straight / taker).glob('2*/*.log')]
        assert len(logs) == 1
        assert f'Load checkpoint from {straight / giver / "epoch_2.pth"}' in logs[0]


def test_the_next_run_finds_the_stages(train, home, straight):
    shutil.copytree(straight, home / 'moved')
    checkpoint = home / 'moved' / 'middle' / 'epoch_2.pth'
    before = checkpoint.stat().st_mtime_ns
    assert train('moved', options=['train_cfg.max_epochs=1']) == [
        'stage start: found ~/moved/start/epoch_2.pth',
        'stage middle: found ~/moved/middle/epoch_2.pth',
    ]
    assert checkpoint.stat().st_mtime_ns == before
    assert len(list((home / 'moved' / 'middle').glob('2*'))) == 1


def test_a_stage_killed_after_its_last_checkpoint_is_as_good_as_finished(train, home, straight):
    middle = home / 'ended' / 'middle'
    shutil.copytree(straight, home / 'ended')
    # What the run in the other folder wrote down.
    (middle / 'last_checkpoint').write_text(str(middle / 'epoch_2.pth'))
    (middle / 'stage.json').unlink()
    assert train('ended', options=['train_cfg.max_epochs=1'])[1:] == [
        'stage middle: goes on from ~/ended/middle/epoch_2.pth',
        'stage middle: trained, ~/ended/middle/epoch_2.pth',
    ]
    assert logged(middle) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ('place', 'iteration', 'said'),
    [
        ('start', 4, ['goes on from ~/W/start/epoch_1.pth', 'begins in ~/W/middle']),
        ('middle', 1, ['found ~/W/start/epoch_2.pth', 'begins in ~/W/middle']),
        ('middle', 4, ['found ~/W/start/epoch_2.pth', 'goes on from ~/W/middle/epoch_1.pth']),
        ('', 4, ['found ~/W/start/epoch_2.pth', 'found ~/W/middle/epoch_2.pth']),
    ],
)
def test_resume_in_the_right_stage(train, home, straight, monkeypatch, place, iteration, said):
    work_dir = f'broken_off_{place}_{iteration}'
    monkeypatch.setattr(BreakOff, 'at', (place or work_dir, iteration))
    with pytest.raises(InterruptedError):
        train(work_dir)
    monkeypatch.setattr(BreakOff, 'at', None)
    lines = [line.split(': ')[1].replace(work_dir, 'W') for line in train(work_dir, '--resume')]
    assert [line for line in lines if not line.startswith('trained')] == said
    for name in ('start', 'middle', ''):
        runs = [load(run / name / 'epoch_2.pth') for run in (straight, home / work_dir)]
        assert_equal(*(run['state_dict'] for run in runs))


def test_the_best_checkpoint_is_given(train, home):
    validated = (
        "_base_ = 'first.py'\nval_dataloader = {{_base_.test_dataloader}}\n"
        "val_evaluator = dict(type='Accuracy')\nval_cfg = dict()\n"
        "default_hooks = dict(checkpoint=dict(save_best='auto'))\n"
        # The second epoch is no better than the first, and the best is the first of equals.
        'optim_wrapper = dict(optimizer=dict(lr=0.0))\n'
    )
    stages = "earlier_stages = dict(a=dict(config='one.py', gives='weights', checkpoint='best'))"
    (home / 'one.py').write_text(validated)
    (home / 'two.py').write_text(f"_base_ = 'first.py'\n{stages}")
    best = '~/best/a/best_accuracy_top1_epoch_1.pth'
    assert train('best', config='two.py')[1] == f'stage a: trained, {best}'
    assert (home / 'best' / 'a' / 'epoch_2.pth').is_file()
    assert train('best', '--resume', config='two.py') == [f'stage a: found {best}']


def test_a_stage_that_saves_nothing_stops_the_command(train, home, capsys):
    key = 'earlier_stages.start.cfg_options.default_hooks.checkpoint'
    with pytest.raises(SystemExit) as caught:
        train('unsaved', options=[f'{key}.interval=-1', f'{key}.save_last=False'])
    assert caught.value.code == 2
    assert not (home / 'unsaved' / 'middle').exists()


def test_nothing_is_trained_where_a_later_stage_lacks_data(train, home):
    with pytest.raises(SystemExit):
        train('lacking', options=['train_dataloader.dataset.data_prefix=absent'])
    assert not (home / 'lacking').exists()


STUDENT = """
_base_ = 'tiny.py'
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/tiny.py', gives='teacher'))
model = dict(
    type='lt_mm.LongTailEncoderDecoder',
    teacher=dict(),
    decode_head=dict(type='lt_mm.GMLFCNHead', contrast=dict(size=30, min_size=2, widths=(4,))))
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
variants = dict(
    longer=dict(train_cfg=dict(max_iters=4)),
    untaught=dict(earlier_stages=None, model=dict(teacher=None)))
"""


def test_a_student_whose_teacher_an_earlier_stage_gives(run_tool, write_config, tmp_path, capsys):
    folders = dict(images=256, labels=3)
    write_config(tmp_path / 'tiny.py', 'tiny_segmentation.py', folders, tmp_path / 'data')
    (tmp_path / 'student.py').write_text(STUDENT)
    run_tool('train.py', 'student.py', cwd=tmp_path)
    folder = tmp_path / 'work_dirs' / 'student'
    assert f'stage teacher: trained, {folder}/teacher/iter_2.pth' in capsys.readouterr().out
    shutil.rmtree(folder / 'teacher')
    # A test needs no teacher, neither by the config nor by the one that the training left.
    for config in ('student.py', folder / 'student.py'):
        places = ('--work-dir', 'tested')
        run_tool('test.py', config, folder / 'iter_2.pth', *places, cwd=tmp_path)
        assert 'mIoU' in capsys.readouterr().out
    # Without any stage it is missed before anything is trained.
    with pytest.raises(SystemExit):
        run_tool('train.py', 'student.py', '--cfg-options', 'earlier_stages=None', cwd=tmp_path)
    assert 'has no config and no checkpoint: give model.teacher' in capsys.readouterr().err


def test_variants_of_a_config(run_tool, write_config, tmp_path, capsys):
    folders = dict(images=256, labels=3)
    write_config(tmp_path / 'tiny.py', 'tiny_segmentation.py', folders, tmp_path / 'data')
    (tmp_path / 'student.py').write_text(STUDENT)
    run_tool('train.py', 'student.py', '--variant', 'untaught', cwd=tmp_path)
    folder = tmp_path / 'work_dirs' / 'student_untaught'
    assert sorted(path.name for path in folder.glob('*.pth')) == ['iter_2.pth']
    assert 'stage teacher' not in capsys.readouterr().out
    given = ('student.py', folder / 'iter_2.pth', '--variant', 'untaught')
    run_tool('test.py', *given, cwd=tmp_path)
    # Where a test leaves its metrics.
    assert len(list(folder.glob('*/*.json'))) == 1
    with pytest.raises(SystemExit):
        run_tool('train.py', 'student.py', '--variant', 'taught', cwd=tmp_path)
    assert 'choose from longer, untaught' in capsys.readouterr().err


# What makes the demo's GML config and the teacher it names small.
SMALL = [
    'train_cfg.val_interval=20', 'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1', 'default_hooks.checkpoint.interval=4',
]  # fmt: skip
SIZES = ['num_training=6', 'num_tuning=5', 'num_validation=5']
TEACHER = 'earlier_stages.teacher.cfg_options'


@pytest.fixture
def demo(tmp_path, tools):
    """Start tools/train.py, or dist_train.sh, on the demo's GML config in a process of its own."""
    dataset = [f'data_root={tmp_path / "scenes"}', *(f'make.{size}' for size in SIZES)]
    loaders = [f'{x}_dataloader.dataset' for x in ('train', 'val')]
    options = SMALL + [f'{loader}.{setting}' for loader in loaders for setting in dataset]
    options = [*options, 'randomness.seed=3', *(f'{TEACHER}.{option}' for option in options)]

    def start(work_dir, *arguments, processes=None, iterations=12):
        tool = [sys.executable, tools / 'train.py']
        config = tools.parent / 'configs/digit_scenes/gml_fcn_r18_digits.py'
        if processes:
            tool = [tools / 'dist_train.sh']
            arguments = (processes, *arguments)
        lengths = [f'{key}train_cfg.max_iters={iterations}' for key in ('', f'{TEACHER}.')]
        command = [
            *tool, config, *arguments, '--work-dir', work_dir,
            '--cfg-options', *options, *lengths,
        ]  # fmt: skip
        return subprocess.Popen(
            [*map(str, command)],
            cwd=tmp_path,
            env={
                **os.environ,
                'PYTHON': sys.executable,
                'PORT': str(get_free_port()),
                'CUDA_VISIBLE_DEVICES': '',
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def run(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    return [line for line in output.splitlines() if line.startswith('stage ')]


def run_until(process, stages, iteration):
    """Kill in an iteration of the second stage, or the first."""
    for line in process.stdout:
        stages -= f'Iter(train) [{iteration}/12]' in line
        if stages == 0:
            process.kill()
            break
    process.stdout.read()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_in_either_stage_and_resumed(demo, tmp_path):
    assert len(run(demo('straight'))) == 2
    for name, stages in (('first', 1), ('second', 2)):
        run_until(demo(name), stages, iteration=10)
    teacher = tmp_path / 'second' / 'teacher' / 'iter_12.pth'
    assert (tmp_path / 'second' / 'iter_8.pth').is_file()
    assert (tmp_path / 'first' / 'teacher' / 'iter_8.pth').is_file()
    untouched = teacher.stat().st_mtime_ns
    assert run(demo('second', '--resume')) == [f'stage teacher: found {teacher}']
    assert teacher.stat().st_mtime_ns == untouched
    said = run(demo('first', '--resume'))
    assert said[0] == f'stage teacher: goes on from {tmp_path}/first/teacher/iter_8.pth'
    for name in ('first', 'second'):
        for part in ('teacher', ''):
            runs = [load(tmp_path / x / part / 'iter_12.pth') for x in ('straight', name)]
            assert_equal(*(x['state_dict'] for x in runs))
            assert runs[0]['meta']['seed'] == runs[1]['meta']['seed'] == 3


@pytest.mark.slow
def test_two_processes_train_both_stages_and_say_so_once(demo, tmp_path):
    teacher = tmp_path / 'two' / 'teacher'
    assert run(demo('two', processes=2, iterations=4)) == [
        f'stage teacher: begins in {teacher}',
        f'stage teacher: trained, {teacher}/iter_4.pth',
    ]
    final = load(tmp_path / 'two' / 'iter_4.pth')['state_dict']
    (tmp_path / 'two' / 'iter_4.pth').unlink()
    said = run(demo('two', processes=2, iterations=4))
    assert said == [f'stage teacher: found {teacher}/iter_4.pth']
    assert_equal(final, load(tmp_path / 'two' / 'iter_4.pth')['state_dict'])
