"""Command lines, results and reuse of experiments, with a stand-in for tools/train.py."""

import json
import sys

import pytest

from lt_mm.benchmark import experiments
from lt_mm.benchmark.experiments import Experiment, run_all
from lt_mm.benchmark.methods import Method

# Writes what a training would leave: a checkpoint, scalars, and a mark for every run.
FAKE = """
import json, pathlib, sys
args = sys.argv[1:]
folder = pathlib.Path(args[args.index('--work-dir') + 1])
options = dict(item.split('=', 1) for item in args[args.index('--cfg-options') + 1:])
if options.get('fail'):
    sys.exit('broken')
print('Iter(train) [  5/10]', flush=True)
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
    monkeypatch.setattr(experiments, 'ROOT', tmp_path)


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
