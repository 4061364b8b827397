import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
READ_BY_SCRIPTS = (
    *('PYTHON', 'PYTHONPATH', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT'),
    *('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS'),
)


def run_script(tmp_path, name, *argv, **env):
    """Run a shell script against a fake ``python`` and ``srun``; return their arguments."""
    for program in ('python', 'srun'):
        fake = tmp_path / 'bin' / program
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f'#!/bin/sh\nprintf "%s\\n" {program} "$@" "$PYTHONPATH" > "$RECORD"\n')
        fake.chmod(0o755)
    record = tmp_path / 'record'
    path = f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}'
    clean = {key: value for key, value in os.environ.items() if key not in READ_BY_SCRIPTS}
    done = subprocess.run(
        [TOOLS / name, *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**clean, 'PATH': path, 'RECORD': str(record), **env},
    )
    return done, record.read_text().splitlines() if record.exists() else None


@pytest.mark.parametrize(
    ('name', 'files'),
    [('dist_train.sh', ['my config.py']), ('dist_test.sh', ['my config.py', 'a b.pth'])],
)
def test_dist_scripts(tmp_path, name, files):
    tool = str(TOOLS / f'{name[5:-3]}.py')
    done, words = run_script(tmp_path, name, *files, '2', '--cfg-options', 'a=[1, 2]')
    assert done.returncode == 0, done.stderr
    assert words == [
        'python',
        '-m',
        'torch.distributed.run',
        '--nnodes=1',
        '--node-rank=0',
        '--master-addr=127.0.0.1',
        '--master-port=29500',
        '--nproc-per-node=2',
        tool,
        *files,
        '--launcher',
        'pytorch',
        '--cfg-options',
        'a=[1, 2]',
        f'{TOOLS}/..',
    ]
    _, words = run_script(
        tmp_path,
        name,
        *files,
        '8',
        NNODES='2',
        NODE_RANK='1',
        PORT='1234',
        MASTER_ADDR='host',
        PYTHONPATH='/mine',
    )
    assert words[3:8] == [
        '--nnodes=2',
        '--node-rank=1',
        '--master-addr=host',
        '--master-port=1234',
        '--nproc-per-node=8',
    ]
    assert words[-2:] == ['pytorch', f'{TOOLS}/..:/mine']


@pytest.mark.parametrize(
    ('name', 'files'),
    [('slurm_train.sh', ['my config.py']), ('slurm_test.sh', ['my config.py', 'a b.pth'])],
)
def test_slurm_scripts(tmp_path, name, files):
    tool = str(TOOLS / f'{name[6:-3]}.py')
    done, words = run_script(tmp_path, name, 'part', 'my job', *files, '--work-dir', 'w d')
    assert done.returncode == 0, done.stderr
    assert words == [
        'srun',
        '-p',
        'part',
        '--job-name=my job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        'python',
        '-u',
        tool,
        *files,
        '--launcher',
        'slurm',
        '--work-dir',
        'w d',
        f'{TOOLS}/..',
    ]
    _, words = run_script(
        tmp_path,
        name,
        'part',
        'job',
        *files,
        GPUS='16',
        CPUS_PER_TASK='2',
        SRUN_ARGS='--quotatype=spot --time 10',
    )
    assert words[4:12] == [
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=2',
        '--kill-on-bad-exit=1',
        '--quotatype=spot',
        '--time',
        '10',
    ]


@pytest.mark.parametrize(
    ('name', 'given'),
    [('dist_train.sh', 1), ('dist_test.sh', 2), ('slurm_train.sh', 2), ('slurm_test.sh', 3)],
)
def test_scripts_show_their_usage_when_arguments_are_missing(tmp_path, name, given):
    done, words = run_script(tmp_path, name, *['x'] * given)
    assert done.returncode == 2 and words is None
    assert done.stderr.startswith('Usage:') and 'CONFIG' in done.stderr
