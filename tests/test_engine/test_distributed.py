"""What is set for several processes without an accelerator; the tools' own test runs it whole."""

import logging
import os
from datetime import timedelta
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODEL_WRAPPERS
from torch import nn
from torch.distributed.elastic.utils.distributed import get_free_port

from lt_mm.engine import distributed
from lt_mm.engine.distributed import CPUDistributedDataParallel, prepare_distributed

TORCH_NAMES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
TORCHRUN = dict(zip(TORCH_NAMES, ('3', '8', '1', 'host', '1234'), strict=True))
SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='8', SLURM_LOCALID='1')
MPI = dict(OMPI_COMM_WORLD_RANK='3', OMPI_COMM_WORLD_SIZE='8', OMPI_COMM_WORLD_LOCAL_RANK='1')


@pytest.fixture
def started(monkeypatch):
    """Prepare a config in a given environment; how torch would have been started, or None."""
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: False)
    monkeypatch.setattr(distributed.atexit, 'register', lambda *args: None)
    clean = {name: value for name, value in os.environ.items() if name not in TORCH_NAMES}

    def prepare(cfg, **environment):
        calls = []

        def start(*args, **kwargs):
            torch_sees = {name: os.environ.get(name) for name in TORCH_NAMES}
            calls.append((args, kwargs, torch_sees))

        monkeypatch.setattr(torch.distributed, 'init_process_group', start)
        with mock.patch.dict(os.environ, {**clean, **environment}, clear=True):
            prepare_distributed(cfg)
        return calls[0] if calls else None

    return prepare


def test_one_process_or_an_accelerator_is_left_to_mmengine(started, monkeypatch):
    alone = Config(dict(launcher='none'))
    assert started(alone, **TORCHRUN) is None
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: True)
    many = Config(dict(launcher='pytorch'))
    assert started(many, **TORCHRUN) is None
    assert 'model_wrapper_cfg' not in alone and 'model_wrapper_cfg' not in many


@pytest.mark.parametrize(
    ('launcher', 'environment'),
    [
        ('pytorch', TORCHRUN),
        # load_config has set LOCAL_RANK to 0 before.
        ('slurm', dict(SLURM, LOCAL_RANK='0', MASTER_ADDR='host', MASTER_PORT='1234')),
        ('mpi', dict(MPI, LOCAL_RANK='0', MASTER_ADDR='host', MASTER_PORT='1234')),
    ],
)
def test_launchers(started, launcher, environment):
    args, kwargs, torch_sees = started(Config(dict(launcher=launcher)), **environment)
    assert (args, kwargs) == (('gloo',), dict(timeout=None))
    assert torch_sees == TORCHRUN


def test_timeout_of_the_config_and_default_port(started):
    cfg = Config(dict(launcher='mpi', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=90))))
    args, kwargs, torch_sees = started(cfg, **MPI, MASTER_ADDR='host')
    assert (args, kwargs) == (('gloo',), dict(timeout=timedelta(seconds=90)))
    assert torch_sees['MASTER_PORT'] == '29500'


def test_a_group_that_was_started_is_kept(started, monkeypatch):
    monkeypatch.setattr(distributed, 'is_distributed', lambda: True)
    cfg = Config(dict(launcher='pytorch'))
    assert started(cfg) is None
    assert cfg.model_wrapper_cfg.type == 'lt_mm.CPUDistributedDataParallel'


def test_the_first_host_of_a_slurm_job_is_the_master(started, tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames" ] && printf "node7\\nnode9\\n"\n')
    scontrol.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    _, _, torch_sees = started(Config(dict(launcher='slurm')), **SLURM, PATH=path)
    assert torch_sees['MASTER_ADDR'] == 'node7'


@pytest.mark.parametrize(
    ('launcher', 'environment', 'told'),
    [
        ('pytorch', dict(LOCAL_RANK='0'), 'needs RANK, WORLD_SIZE, MASTER_ADDR in'),
        ('mpi', MPI, 'needs MASTER_ADDR in'),
        ('slurm', dict(MASTER_ADDR='host'), 'needs SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID in'),
        ('slurm', dict(SLURM, PATH=''), 'set MASTER_ADDR'),
    ],
)
def test_what_the_launcher_left_out_is_named(started, capsys, launcher, environment, told):
    with pytest.raises(SystemExit):
        started(Config(dict(launcher=launcher)), **environment)
    message = capsys.readouterr().err
    assert told in message and message.count('\n') == 1


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, dict(find_unused_parameters=False)),
        (dict(find_unused_parameters=True), dict(find_unused_parameters=True)),
        (
            dict(model_wrapper_cfg=dict(find_unused_parameters=True, static_graph=True)),
            dict(find_unused_parameters=True, static_graph=True),
        ),
        (
            dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', broadcast_buffers=True)),
            dict(find_unused_parameters=False, broadcast_buffers=True),
        ),
    ],
)
def test_wrapper_keeps_what_the_config_says(started, given, expected):
    cfg = Config(dict(launcher='pytorch', **given))
    started(cfg, **TORCHRUN)
    assert cfg.model_wrapper_cfg == dict(expected, type='lt_mm.CPUDistributedDataParallel')


def test_a_wrapper_of_another_kind_is_left_alone(started):
    wrapper = dict(type='MMSeparateDistributedDataParallel')
    cfg = Config(dict(launcher='pytorch', model_wrapper_cfg=wrapper))
    started(cfg, **TORCHRUN)
    assert cfg.model_wrapper_cfg == wrapper


class Normalised(BaseModel):
    def __init__(self):
        super().__init__()
        self.norm = nn.SyncBatchNorm(2)
        self.frozen = nn.SyncBatchNorm(2)
        self.last = nn.Linear(2, 1)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, inputs, mode):
        return dict(loss=self.last(self.frozen(self.norm(inputs))).square().mean())


def inputs(rank):
    return torch.randn(6, 2, generator=torch.Generator().manual_seed(rank)) + rank


def count_threads():
    return len(os.listdir('/proc/self/task'))


def train_rank(rank, port):
    # One is to be started by what is tested.
    dist.destroy_process_group()
    names = dict(zip(TORCH_NAMES, (rank, 2, rank, '127.0.0.1', port), strict=True))
    os.environ.update({name: str(value) for name, value in names.items()})
    distributed.has_accelerator = lambda: False
    prepare_distributed(Config(dict(launcher='pytorch')))
    torch.manual_seed(0)
    wrapper = MODEL_WRAPPERS.build(
        dict(type='lt_mm.CPUDistributedDataParallel', module=Normalised(), device_ids=[rank])
    )
    assert dist.get_backend() == 'gloo' and isinstance(wrapper, CPUDistributedDataParallel)
    alive = count_threads()
    wrapper.train()
    optimizer = OptimWrapper(torch.optim.SGD(wrapper.parameters(), lr=0.1))
    wrapper.train_step(dict(inputs=inputs(rank)), optimizer)
    state = wrapper.module.state_dict()
    # Freed by a collection alone, as a Runner is.
    wrapper.itself = wrapper
    del wrapper, optimizer
    distributed.end_process_group()
    threads_of_gloo = alive - count_threads()
    # For the end of the rank, which leaves a group.
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    return state, threads_of_gloo


def test_two_processes_train_one_model(two_ranks):
    (first, *ended), (second, *_) = two_ranks(train_rank, get_free_port())
    assert ended[0] >= 2
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    means = [inputs(rank).mean(0) for rank in range(2)]
    variances = [inputs(rank).var(0) for rank in range(2)]
    torch.testing.assert_close(first['norm.running_mean'], 0.1 * sum(means) / 2)
    torch.testing.assert_close(first['norm.running_var'], 0.9 + 0.1 * sum(variances) / 2)
    assert first['frozen.running_mean'].tolist() == [0, 0]
    assert first['last.weight'].isfinite().all()


@pytest.mark.parametrize(
    ('hooks', 'expected'),
    [
        (None, dict(type='lt_mm.RankZeroLoggerHook')),
        (
            dict(logger=dict(type='LoggerHook', interval=5)),
            dict(type='lt_mm.RankZeroLoggerHook', interval=5),
        ),
        (dict(logger=dict(type='MyLoggerHook')), dict(type='MyLoggerHook')),
        (dict(logger=None), None),
    ],
)
def test_the_logger_hook_of_a_test_is_replaced(hooks, expected):
    cfg = Config(dict(default_hooks=hooks))
    distributed.write_metrics_once(cfg)
    assert cfg.default_hooks.logger == expected


@pytest.mark.parametrize('rank', [0, 1])
def test_rank_0_alone_writes_the_metrics_of_a_test(monkeypatch, rank, tmp_path):
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: rank)
    hook = HOOKS.build(dict(type='lt_mm.RankZeroLoggerHook'))
    hook.json_log_path = 'metrics.json'
    process = SimpleNamespace(get_log_after_epoch=lambda *_, **__: (dict(mIoU=1.0), ''))
    runner = SimpleNamespace(
        log_processor=process, test_dataloader=[], logger=logging.getLogger(), log_dir=tmp_path
    )
    hook.after_test_epoch(runner, metrics=dict(mIoU=1.0))
    assert (tmp_path / 'metrics.json').is_file() is (rank == 0)
