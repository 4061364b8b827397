"""TrainingGuardHook in a plain Runner of mmengine, and in those of shipped configs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import Tensor, nn

import lt_mm.engine.hooks  # noqa: F401
from lt_mm.engine.hooks.training_guard_hook import LOCK

ROOT = Path(__file__).resolve().parents[2]
EARLIER = dict(encoder=dict(config='first.py', gives='weights', to='last'))


class Line(BaseModel):
    """One weight; its loss is NaN in some steps, of which the first is 1."""

    def __init__(self, nan: range, statistics: bool = False, width: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm1d(1) if statistics else None
        self.step, self.nan = 0, nan

    def forward(self, value: list[Tensor], mode: str = 'loss') -> dict[str, Tensor]:
        self.step += 1
        bad = float('nan') if self.step in self.nan else 1.0
        if self.norm is not None:
            self.norm(torch.full((2, 1), bad))
            bad = 1.0
        return dict(loss_line=(self.weight * bad).sum())


@OPTIM_WRAPPERS.register_module()
class SkippingWrapper(OptimWrapper):
    """Skips steps that are not finite, as one with a gradient scaler does."""

    loss_scaler = None

    def step(self, **kwargs) -> None:
        if all(p.grad.isfinite().all() for p in self.param_groups[0]['params']):
            super().step(**kwargs)


def runner_of(
    folder: Path,
    nan: range = range(0),
    interval: int = 50,
    wrapper: str = 'OptimWrapper',
    steps: int = 12,
    model: dict | None = None,
    resume: bool = False,
    load_from: str | None = None,
    lr: float = 0.01,
    evaluation: dict | None = None,
    **settings,
) -> Runner:
    cfg = dict(
        model=dict(type='Line', **(model or {})),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=[dict(value=torch.ones(1)) for _ in range(4)],
            sampler=dict(type='InfiniteSampler'),
            batch_size=1,
        ),
        train_cfg=dict(by_epoch=False, max_iters=steps),
        optim_wrapper=dict(type=wrapper, optimizer=dict(type='SGD', lr=lr)),
        default_hooks=dict(
            checkpoint=dict(type='lt_mm.SafeCheckpointHook', interval=3, by_epoch=False)
        ),
        custom_hooks=[dict(type='lt_mm.TrainingGuardHook', interval=interval)],
        resume=resume,
        load_from=load_from,
        default_scope='mmengine',
        experiment_name=folder.name,
        **(evaluation or {}),
    )
    # A Runner wants its model built here, and the rest as configs.
    built = {**cfg, 'model': Line(nan, **(model or {}))}
    return Runner(**built, cfg=Config(dict(cfg, **settings)))


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.mark.parametrize('interval', [1, 50])
def test_nan_stops_before_the_next_checkpoint_and_names_the_first(tmp_path, interval) -> None:
    told = r'diverged by iteration 5 \(.*loss.* is nan.*iter_3\.pth is the last checkpoint'
    with pytest.raises(FloatingPointError, match=told):
        runner_of(tmp_path, range(5, 99), interval).train()
    assert saved(tmp_path) == ['iter_3.pth']
    weights = torch.load(tmp_path / 'iter_3.pth', weights_only=False)['state_dict']
    assert weights['weight'].isfinite().all()


def test_nan_in_running_statistics_stops_it(tmp_path) -> None:
    with pytest.raises(FloatingPointError, match=r'norm\.running_mean is not finite'):
        runner_of(tmp_path, range(5, 6), model=dict(statistics=True)).train()
    assert saved(tmp_path) == ['iter_3.pth']


def test_steps_that_a_gradient_scaler_skips_are_no_divergence(tmp_path) -> None:
    runner_of(tmp_path, range(4, 6), wrapper='SkippingWrapper').train()
    assert 'iter_12.pth' in saved(tmp_path)


def test_a_gradient_scaler_that_skips_all_steps_is_stopped(tmp_path) -> None:
    with pytest.raises(FloatingPointError, match='diverged by iteration 4'):
        runner_of(tmp_path, range(4, 99), wrapper='SkippingWrapper').train()


def test_finite_training_ends_and_leaves_the_work_dir_to_others(tmp_path) -> None:
    runner_of(tmp_path).train()
    assert 'iter_12.pth' in saved(tmp_path)
    runner_of(tmp_path).train()


def test_one_rank_that_diverges_stops_both(two_ranks, tmp_path) -> None:
    for told in two_ranks(_diverge_on_rank_1, tmp_path):
        assert 'diverged' in told
    assert saved(tmp_path) == ['iter_3.pth']


def _diverge_on_rank_1(rank: int, folder: Path) -> str:
    runner = runner_of(folder, range(5, 99) if rank else range(0))
    with pytest.raises(FloatingPointError) as caught:
        runner.train()
    return str(caught.value)


def test_a_work_dir_has_one_training_at_a_time(tmp_path) -> None:
    hold = (
        'import fcntl, sys; f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); '
        'f.write("process 7 on a"); f.flush(); print("held", flush=True); sys.stdin.read()'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', hold, str(tmp_path / LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b'held\n'
    with pytest.raises(ValueError, match='Another training .process 7 on a. writes to'):
        runner_of(tmp_path).train()
    other.communicate()
    runner_of(tmp_path).train()


@pytest.fixture
def trained(tmp_path, forget_mmengine):
    runner_of(tmp_path, steps=3, model=dict(statistics=True)).train()
    forget_mmengine()
    return tmp_path


def test_another_model_is_not_gone_on_with_unless_its_checkpoint_is_named(trained) -> None:
    with pytest.raises(
        ValueError, match=r'trained with model\.statistics=True, but the config says'
    ):
        runner_of(trained, steps=6, resume=True).train()


def test_a_checkpoint_that_is_named_is_gone_on_with(trained, capsys) -> None:
    named = str(trained / 'iter_3.pth')
    runner = runner_of(
        trained, steps=6, resume=True, load_from=named, model=dict(statistics=True, width=2)
    )
    runner.train()
    assert 'was trained with model.width=nothing, and goes on with 2' in capsys.readouterr().out
    assert 'iter_6.pth' in saved(trained)


def test_another_schedule_is_warned_of(trained, capsys) -> None:
    runner = runner_of(trained, steps=6, resume=True, lr=0.5, model=dict(statistics=True))
    runner.train()
    assert 'goes on with' in capsys.readouterr().out
    assert 'iter_6.pth' in saved(trained)


def test_missing_stage_names_the_command(tmp_path) -> None:
    with pytest.raises(ValueError, match=r'tools/train\.py'):
        runner_of(tmp_path, earlier_stages=EARLIER).train()
    # There is nothing to resume.
    with pytest.raises(ValueError, match=r'tools/train\.py'):
        runner_of(tmp_path, earlier_stages=EARLIER, resume=True).train()


@pytest.mark.parametrize('name', ['lws', 'gml', 'crt', 'kd'])
def test_a_shipped_config_under_a_plain_runner_wants_its_stage(tmp_path, name) -> None:
    cfg = Config.fromfile(ROOT / f'configs/digits_lt/{name}_resnet8_digits-lt.py')
    cfg.work_dir = str(tmp_path)
    with pytest.raises(ValueError, match=rf'tools/train\.py .*{name}_resnet8_digits-lt\.py'):
        Runner.from_cfg(cfg).train()
    assert not saved(tmp_path)


def test_a_frozen_encoder_is_not_random(tmp_path) -> None:
    cfg = Config.fromfile(ROOT / 'configs/digits_lt/lws_resnet8_digits-lt.py')
    cfg.work_dir = str(tmp_path)
    cfg.pop('earlier_stages')
    with pytest.raises(ValueError, match='is frozen, and nothing was loaded into its backbone'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('interval', [0, -1])
def test_interval_of_nothing(tmp_path, interval) -> None:
    with pytest.raises(ValueError, match='interval'):
        runner_of(tmp_path, interval=interval)


@pytest.mark.parametrize('task', ['train', 'val', 'test'])
def test_metrics_with_figures_of_the_same_names_are_refused_before_the_first_step(tmp_path, task):
    evaluation = {}
    for stage in ('val', 'test'):
        evaluation[f'{stage}_dataloader'] = dict(
            dataset=[dict(value=torch.ones(1))], sampler=dict(type='DefaultSampler'), batch_size=1
        )
        evaluation[f'{stage}_evaluator'] = [
            dict(type='lt_mm.LongTailIoUMetric'),
            dict(type='mmseg.IoUMetric'),
        ]
        evaluation[f'{stage}_cfg'] = dict()
    runner = runner_of(tmp_path, evaluation=evaluation)
    with pytest.raises(ValueError, match='LongTailIoUMetric and IoUMetric in one evaluator give'):
        getattr(runner, task)()
    assert runner.model.step == 0
