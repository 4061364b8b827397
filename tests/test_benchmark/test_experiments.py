"""Command lines, results and reuse of experiments, with a stand-in for tools/train.py."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lt_mm.benchmark import experiments, methods
from lt_mm.benchmark.experiments import Experiment, run_all
from lt_mm.benchmark.methods import Method
from lt_mm.checkpoints import trust_checkpoints

# Writes what a training would leave: a checkpoint, scalars, and a mark for every run.
FAKE = """
import json, os, pathlib, sys, time
args = sys.argv[1:]
folder = pathlib.Path(args[args.index('--work-dir') + 1])
options = dict(item.split('=', 1) for item in args[args.index('--cfg-options') + 1:])
if options.get('fail'):
    sys.exit('broken')
folder.joinpath('pid').write_text(str(os.getpid()))
time.sleep(float(options.get('sleep', 0)))
deadline = time.time() + 30
while len(list(folder.parent.glob('*/pid'))) < int(options.get('together', 0)):
    if time.time() > deadline:
        sys.exit('alone')
    time.sleep(0.05)
options['device'] = os.environ.get('CUDA_VISIBLE_DEVICES')
options['threads'] = os.environ.get('OMP_NUM_THREADS')
options['trust'] = os.environ.get('LT_MM_TRUST_CHECKPOINT')
print('Iter(train) [  5/10]', flush=True)
folder.joinpath('iter_10.pth').touch()
folder.joinpath('last_checkpoint').write_text(str(folder / 'iter_10.pth'))
scalars = folder / '20200101' / 'vis_data' / 'scalars.json'
scalars.parent.mkdir(parents=True, exist_ok=True)
rows = [dict(loss=1.0, time=0.2, step=5), dict(loss=1.0, time=0.4, step=10),
        dict(mIoU=50.0, tail_Acc=7.0, step=10, time=9.0)]
scalars.write_text(''.join(json.dumps(row) + chr(10) for row in rows))
with open(folder / 'runs', 'a') as file:
    file.write(json.dumps(options) + chr(10))
"""


@pytest.fixture(autouse=True)
def fake_train(tmp_path, monkeypatch):
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text(FAKE)
    for name in ('ce', 'gml'):
        (tmp_path / f'{name}.py').write_text('lr = 1')
    monkeypatch.setattr(experiments, 'ROOT', tmp_path)
    monkeypatch.setattr(methods, 'ROOT', tmp_path)


def make(tmp_path, name, teacher=None, options=(), seed=3, variant=None):
    method = Method(name.upper(), f'{name}.py', variant, teacher)
    return Experiment(name, method, seed, tmp_path / 'out', tuple(options))


def test_results_come_in_order_and_students_know_their_teachers(tmp_path):
    student, teacher = make(tmp_path, 'gml', 'ce'), make(tmp_path, 'ce')
    results = run_all([student, teacher], jobs=2)
    assert [(r.method, r.seed) for r in results] == [('gml', 3), ('ce', 3)]
    assert results[0].metrics == {'mIoU': 50.0, 'tail_Acc': 7.0}
    assert results[0].seconds_per_iteration == 0.3
    assert results[0].peak_memory_mib > 1
    options = json.loads((student.work_dir / 'runs').read_text())
    assert options['model.teacher.checkpoint'] == str(teacher.work_dir / 'iter_10.pth')
    assert options['randomness.seed'] == '3'


def test_reuse_takes_a_result_only_of_the_same_command(tmp_path):
    first = make(tmp_path, 'ce')
    assert run_all([first]) == run_all([first], reuse=True)
    run_all([make(tmp_path, 'ce', options=['lr=1'])], reuse=True)
    run_all([first])
    assert len((first.work_dir / 'runs').read_text().splitlines()) == 3


def test_a_failed_run_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match='training ce with seed 3 failed; see .*train.log'):
        run_all([make(tmp_path, 'ce', options=['fail=1'])])
    assert 'broken' in (tmp_path / 'out' / 'ce' / 'seed3' / 'train.log').read_text()


def test_command_starts_this_python_and_names_a_variant(tmp_path):
    assert make(tmp_path, 'ce').command()[0] == sys.executable
    command = make(tmp_path, 'ce', variant='alpha1').command()
    assert command[1:5] == [
        str(tmp_path / 'tools' / 'train.py'), str(tmp_path / 'ce.py'), '--variant', 'alpha1',
    ]  # fmt: skip


def test_options_name_files_in_the_folder_of_the_run(tmp_path):
    method = Method('CE', 'ce.py')
    run = Experiment('ce', method, 0, tmp_path, files=(('val_evaluator.output_csv', 'a.csv'),))
    assert f'val_evaluator.output_csv={tmp_path / "ce" / "seed0" / "a.csv"}' in run.command()


def test_one_that_fails_is_told_and_the_others_go_on(tmp_path):
    failed = {}
    runs = [make(tmp_path, 'ce', options=['fail=1']), make(tmp_path, 'gml', teacher='ce'),
            make(tmp_path, 'ce', seed=4)]  # fmt: skip
    results = run_all(runs, on_failure=lambda run, error: failed.update({str(run): str(error)}))
    assert [(r.method, r.seed) for r in results] == [('ce', 4)]
    assert 'training ce with seed 3 failed' in failed['ce, seed 3']
    assert 'ce, seed 3 has left no checkpoint' in failed['gml, seed 3']


def test_reuse_takes_a_result_only_of_the_same_config_and_the_same_teacher(tmp_path):
    pair = [make(tmp_path, 'ce'), make(tmp_path, 'gml', teacher='ce')]

    def numbers():
        run_all(pair, reuse=True)
        return [len((run.work_dir / 'runs').read_text().splitlines()) for run in pair]

    assert numbers() == [1, 1] == numbers()
    (tmp_path / 'gml.py').write_text('lr = 2')
    assert numbers() == [1, 2]
    (tmp_path / 'ce.py').write_text('lr = 2')
    assert numbers() == [2, 3] == numbers()
    # A damaged record is none.
    pair[0].record.write_text('{')
    assert numbers() == [3, 3]


def test_a_run_that_was_stopped_is_not_taken_for_its_former_result(tmp_path):
    run_all([make(tmp_path, 'ce')])
    with pytest.raises(RuntimeError):
        run_all([make(tmp_path, 'ce', options=['fail=1'])])
    run = make(tmp_path, 'ce')
    assert not run.record.exists()
    run_all([run], reuse=True)
    assert len((run.work_dir / 'runs').read_text().splitlines()) == 2


def test_what_only_evaluates_takes_the_checkpoint_of_another_run(tmp_path):
    trained = make(tmp_path, 'ce')
    (tmp_path / 'tools' / 'test.py').write_text(
        'import json, pathlib, sys\n'
        "folder = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1], '20200101')\n"
        'folder.mkdir(parents=True)\n'
        'row = dict(checkpoint=sys.argv[2], mIoU=60.0, time=0.1)\n'
        "folder.joinpath('20200101.json').write_text(json.dumps(row))\n"
    )
    evaluated = Experiment(
        'post', Method('POST', 'gml.py', evaluates='ce'), 3, tmp_path / 'out', ('a=1',)
    )
    result = run_all([evaluated, trained])[0]
    assert result.metrics == {'mIoU': 60.0, 'checkpoint': trained.checkpoint}
    assert math.isnan(result.seconds_per_iteration)
    assert evaluated.command()[-3:] == ['--cfg-options', 'randomness.seed=3', 'a=1']


def test_each_run_has_a_device_of_its_own(tmp_path):
    run_all([make(tmp_path, 'ce', seed=s) for s in range(4)], jobs=2, devices=['3', '5'])
    seen = [json.loads((tmp_path / f'out/ce/seed{s}/runs').read_text())['device'] for s in range(4)]
    assert set(seen) == {'3', '5'}


def test_more_runs_than_devices_share_them(tmp_path):
    # Each waits for the other to have begun.
    waiting = [make(tmp_path, 'ce', options=['together=2'], seed=s) for s in range(2)]
    run_all(waiting, jobs=2, devices=['3'])
    seen = [json.loads((tmp_path / f'out/ce/seed{s}/runs').read_text())['device'] for s in range(2)]
    assert seen == ['3', '3']


@pytest.mark.parametrize(('own', 'seen'), [(None, '3'), ('5', '5')])
def test_cores_are_shared_among_runs_unless_the_number_of_threads_is_given(
    tmp_path, monkeypatch, own, seen
):
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if own:
        monkeypatch.setenv('OMP_NUM_THREADS', own)
    run_all([make(tmp_path, 'ce')], jobs=2)
    assert json.loads((tmp_path / 'out/ce/seed3/runs').read_text())['threads'] == seen


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_what_runs_and_keeps_what_has_ended(tmp_path, number):
    first, second = make(tmp_path, 'ce'), make(tmp_path, 'gml', options=['sleep=60'])
    third = make(tmp_path, 'ce', seed=4)
    started = second.work_dir / 'pid'
    main = threading.get_ident()

    def interrupt():
        while not started.is_file() or not started.read_text():
            time.sleep(0.02)
        signal.pthread_kill(main, number)

    # Where tests run in the background, Ctrl-C is ignored.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all([first, second, third])
    finally:
        signal.signal(signal.SIGINT, former)
    thread.join()
    assert first.record.is_file()
    assert not second.record.exists() and not third.work_dir.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_line_for_each_run_tells_how_much_is_left(tmp_path, capsys):
    run_all([make(tmp_path, 'ce'), make(tmp_path, 'gml')])
    run_all([make(tmp_path, 'ce')], reuse=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if ': ' in line]
    assert re.match(r'ce, seed 3: done in 0:00:0\d, run 1 of 2, about 0:00:0\d left', lines[0])
    assert re.match(r'gml, seed 3: done in 0:00:0\d, run 2 of 2$', lines[1].strip())
    assert lines[2].strip() == 'ce, seed 3: found, run 1 of 1'


@pytest.mark.parametrize('trusted', [False, True])
def test_runs_trust_the_checkpoints_that_their_tool_is_told_to_trust(tmp_path, trusted):
    trust_checkpoints(trusted)
    try:
        run_all([make(tmp_path, 'ce')])
    finally:
        trust_checkpoints(False)
    runs = (tmp_path / 'out' / 'ce' / 'seed3' / 'runs').read_text()
    assert json.loads(runs)['trust'] == ('1' if trusted else None)


PARENT = """
import subprocess, sys
from lt_mm.benchmark.experiments import end_with_parent
child = subprocess.Popen(['sleep', '60'], preexec_fn=end_with_parent)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='Linux alone ends children with their parent')
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_run_ends_with_what_started_it(number):
    command = [sys.executable, '-c', PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = next(int(line) for line in parent.stdout if line.strip().isdigit())
        parent.send_signal(number)
        parent.wait()
    end = time.monotonic() + 20
    # A process that ended is gone, or waits for init to take note of it.
    while time.monotonic() < end and not _has_ended(child):
        time.sleep(0.05)
    assert _has_ended(child)


def _has_ended(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True
