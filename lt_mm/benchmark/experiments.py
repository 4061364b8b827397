"""Train several configs over several seeds, each in a process of its own, and collect results."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lt_mm.benchmark.measurement import describe_environment
from lt_mm.benchmark.methods import ROOT, Method

_ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\]')
_EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]')


@dataclass(frozen=True)
class Experiment:
    """One training run.

    Args:
        name: short name of the method, also the folder of the run.
        method: what is trained.
        seed: of the run.
        folder: where the runs of all methods lie.
        options: further ``key=value`` overrides of the config.
        epochs: length of the run, for its progress bar, where the log counts epochs.
        files: options that are set to a path in the folder of the run, and the name of that file.
    """

    name: str
    method: Method
    seed: int
    folder: Path
    options: tuple[str, ...] = ()
    epochs: int | None = None
    files: tuple[tuple[str, str], ...] = ()

    @property
    def work_dir(self) -> Path:
        """Folder of this run."""
        return self.folder / self.name / f'seed{self.seed}'

    @property
    def checkpoint(self) -> str:
        """Path of the last checkpoint; the run must have ended."""
        # The name is relative to the folder, or absolute where mmengine's own hook wrote it.
        return str(self.work_dir / (self.work_dir / 'last_checkpoint').read_text().strip())

    def command(self) -> list[str]:
        """The command line that trains and evaluates it."""
        options = [f'randomness.seed={self.seed}']
        for option, name in self.files:
            options.append(f'{option}={self.work_dir / name}')
        options += self.options
        if self.method.teacher:
            teacher = Experiment(self.method.teacher, self.method, self.seed, self.folder)
            options.append(f'model.teacher.checkpoint={teacher.checkpoint}')
        return [
            *self.tool('train.py'), '--work-dir', str(self.work_dir), '--cfg-options', *options
        ]  # fmt: skip

    def tool(self, name: str) -> list[str]:
        """The beginning of a command line: Python, a tool, and the config."""
        tool, config = ROOT / 'tools' / name, ROOT / self.method.config
        variant = ['--variant', self.method.variant] if self.method.variant else []
        return [sys.executable, str(tool), str(config), *variant]


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Args:
        method: name of the method, or ``'<name>/<number>'`` for one of its experts alone.
        seed: of the experiment.
        metrics: of the last evaluation, in percent.
        seconds_per_iteration: median over logged intervals, loading included; the median, because
            other work on the machine slows some of them.
        peak_memory_mib: resident memory of the process at its highest.
        seconds: of the whole run, its start and its evaluation included.
        parameters: that the logits depend on.
        mflops: of the logits of one image, in millions of multiply-adds.
    """

    method: str
    seed: int
    metrics: dict[str, float]
    seconds_per_iteration: float
    peak_memory_mib: float
    seconds: float | None = None
    parameters: int | None = None
    mflops: float | None = None


def run_all(experiments: Sequence[Experiment], jobs: int = 1, reuse: bool = False) -> list[Result]:
    """Run experiments, teachers before their students, with a progress bar for each.

    Args:
        experiments: what to run.
        jobs: how many at a time; the processor's cores are shared out among them.
        reuse: take results that a run with the same arguments left in its folder.

    Returns:
        One result an experiment, in order.

    Raises:
        RuntimeError: if a run fails; its log is named.
    """
    teachers = {(e.method.teacher, e.seed) for e in experiments}
    first = [e for e in experiments if (e.name, e.seed) in teachers]
    second = [e for e in experiments if e not in first]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    columns = ('{task.description}', BarColumn(), '{task.completed}/{task.total}')
    with Progress(
        *(TextColumn(c) if isinstance(c, str) else c for c in columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ) as progress:

        def run(experiment: Experiment) -> Result:
            name = f'{experiment.name}, seed {experiment.seed}'
            task = progress.add_task(name, total=None)

            def show(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            return _run(experiment, threads, reuse, show)

        done: dict[Experiment, Result] = {}
        with ThreadPoolExecutor(jobs) as pool:
            for group in (first, second):
                done.update(zip(group, pool.map(run, group), strict=True))
    return [done[experiment] for experiment in experiments]


def _run(
    experiment: Experiment, threads: int, reuse: bool, show: Callable[[int, int], None]
) -> Result:
    command = experiment.command()
    record = experiment.work_dir / 'result.json'
    if reuse and record.is_file():
        known = json.loads(record.read_text())
        if known.pop('command') == command:
            show(1, 1)
            return Result(**known)
    experiment.work_dir.mkdir(parents=True, exist_ok=True)
    log = experiment.work_dir / 'train.log'
    start = time.monotonic()
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'PYTHONWARNINGS': 'ignore'}
    with log.open('w', buffering=1) as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        for line in process.stdout:
            file.write(line)
            if match := _ITERATION.search(line):
                show(int(match[1]), int(match[2]))
            elif experiment.epochs and (match := _EPOCH.search(line)):
                show(int(match[1]), experiment.epochs)
    # wait4, because only it tells the peak memory of this very child.
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(
            f'training {experiment.name} with seed {experiment.seed} failed; see {log}.'
        )
    metrics, times = _read_scalars(experiment.work_dir)
    result = Result(
        experiment.name,
        experiment.seed,
        metrics,
        round(median(times), 4),
        round(usage.ru_maxrss / 1024),
        round(time.monotonic() - start, 1),
    )
    record.write_text(json.dumps({'command': command, **asdict(result)}, indent=1))
    return result


def _read_scalars(work_dir: Path) -> tuple[dict[str, float], list[float]]:
    """Last evaluation and the time of every logged interval, as LoggerHook wrote them."""
    latest = max(work_dir.glob('*/vis_data/scalars.json'))
    rows: Iterable[dict] = [json.loads(line) for line in latest.read_text().splitlines()]
    evaluations = [row for row in rows if 'loss' not in row]
    times = [row['time'] for row in rows if 'loss' in row]
    ignored = ('step', 'time', 'data_time')
    return {k: v for k, v in evaluations[-1].items() if k not in ignored}, times


def write_results(
    path: Path,
    results: Sequence[Result],
    labels: Mapping[str, str],
    jobs: int,
    expert_results: Sequence[Result] = (),
    expert_labels: Mapping[str, str] | None = None,
) -> None:
    """Keep results with what they were measured on.

    Args:
        path: of the JSON file; folders are made.
        results: of all runs.
        labels: method to its name in tables.
        jobs: how many runs shared the machine.
        expert_results: with costs, and of single experts.
        expert_labels: method, or expert of it, to its name in the table of these.
    """
    environment = dict(**describe_environment(), jobs=jobs)
    content = dict(environment=environment, labels=labels, runs=[asdict(r) for r in results])
    if expert_labels:
        content['expert_labels'] = expert_labels
        content['expert_runs'] = [asdict(result) for result in expert_results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n')
