"""Train several configs over several seeds, each in a process of its own, and collect results."""

import ctypes
import hashlib
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lt_mm.benchmark.measurement import describe_environment
from lt_mm.benchmark.methods import ROOT, Method
from lt_mm.checkpoints import trust_of_children
from lt_mm.engine.saved_checkpoints import last_checkpoint, write_whole

_ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\]')
_EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]')
# Seconds between lines of progress where there is no terminal, and so no bar.
_LINE_EVERY = 20
# Loaded here, because little may be done between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the process that is about to start end when its parent does, however that ends.

    A training that went on without its parent would meet the one that a resumed comparison starts
    in the same folder. Linux alone knows how; elsewhere nothing is done.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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
        """Path of the last checkpoint.

        Raises:
            RuntimeError: if the run has left none.
        """
        found = last_checkpoint(self.work_dir)
        if found is None:
            raise RuntimeError(f'{self} has left no checkpoint in {self.work_dir}; run it first.')
        return found

    @property
    def record(self) -> Path:
        """File that says what was run and what it came to; it is written when the run has ended."""
        return self.work_dir / 'result.json'

    @property
    def needs(self) -> 'Experiment | None':
        """The run whose checkpoint this one takes: its teacher, or what it evaluates."""
        name = self.method.teacher or self.method.evaluates
        return name and Experiment(name, self.method, self.seed, self.folder)

    def command(self) -> list[str]:
        """The command line that trains and evaluates it, or only evaluates what is trained."""
        options = [f'randomness.seed={self.seed}']
        for option, name in self.files:
            options.append(f'{option}={self.work_dir / name}')
        options += self.options
        if self.method.evaluates:
            tool = [*self.tool('test.py'), self.needs.checkpoint]
        else:
            tool = self.tool('train.py')
            if self.method.teacher:
                options.append(f'model.teacher.checkpoint={self.needs.checkpoint}')
        return [*tool, '--work-dir', str(self.work_dir), '--cfg-options', *options]

    def fingerprint(self) -> str:
        """Digest of the config, and of that of the run that this one takes the checkpoint of."""
        content = [self.method.load().to_dict()]
        if self.needs:
            content.append(self.needs.known().get('config'))
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def known(self) -> dict[str, Any]:
        """What the record says; nothing where there is none, or a damaged one."""
        try:
            return dict(json.loads(self.record.read_text()))
        except (OSError, ValueError):
            return {}

    def __str__(self) -> str:
        return f'{self.name}, seed {self.seed}'

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


def run_all(
    experiments: Sequence[Experiment],
    jobs: int = 1,
    reuse: bool = False,
    devices: Sequence[str] = (),
    on_failure: Callable[[Experiment, Exception], None] | None = None,
) -> list[Result]:
    """Run experiments, those that others need first, with a progress bar and a line for each.

    Interrupted or terminated, it ends what is running and raises KeyboardInterrupt; what has ended
    before is kept and can be reused.

    Args:
        experiments: what to run.
        jobs: how many at a time; the processor's cores are shared out among them.
        reuse: take results that a run with the same arguments and the same config left in its
            folder.
        devices: GPUs by their numbers, among which the runs are shared out; none leaves it to the
            runs.
        on_failure: called with a run that failed and the reason, after which the others go on.
            None raises at the first one.

    Returns:
        One result an experiment, in order, without those that failed.

    Raises:
        RuntimeError: if a run fails and there is no ``on_failure``; its log is named.
    """
    needed = {(e.needs.name, e.seed) for e in experiments if e.needs}
    first = [e for e in experiments if (e.name, e.seed) in needed]
    second = [e for e in experiments if e not in first]
    columns = ('{task.description}', BarColumn(), '{task.completed}/{task.total}')
    bar = Progress(
        *(TextColumn(c) if isinstance(c, str) else c for c in columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with _terminated_as_interrupted(), bar as progress:
        runs = _Runs(len(experiments), jobs, reuse, devices, progress)
        done: dict[Experiment, Result] = {}
        with ThreadPoolExecutor(jobs) as pool:
            for group in (first, second):
                futures: dict[Experiment, Future] = {e: pool.submit(runs.run, e) for e in group}
                try:
                    for experiment, future in futures.items():
                        try:
                            done[experiment] = future.result()
                        except Exception as error:
                            if on_failure is None:
                                raise
                            on_failure(experiment, error)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    runs.stop()
                    raise
    return [done[experiment] for experiment in experiments if experiment in done]


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: its default leaves the processes of the runs behind, training on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


class _Runs:
    """Runs of several threads: their processes, their devices and how far they are."""

    def __init__(
        self,
        number: int,
        jobs: int,
        reuse: bool,
        devices: Sequence[str],
        progress: Progress,
    ) -> None:
        self.number, self.jobs, self.reuse, self.progress = number, jobs, reuse, progress
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.devices: queue.Queue[str] | None = None
        if devices:
            self.devices = queue.Queue()
            for device, _ in zip(cycle(devices), range(max(jobs, len(devices)))):
                self.devices.put(device)
        self.ended = 0
        self.seconds: list[float] = []
        self.processes: set[int] = set()
        self.stopped = False
        self.said = time.monotonic()

    def run(self, experiment: Experiment) -> Result:
        task = self.progress.add_task(str(experiment), total=None)
        command, config = experiment.command(), experiment.fingerprint()
        if self.reuse:
            known = experiment.known()
            if (known.pop('command', None), known.pop('config', None)) == (command, config):
                self.progress.update(task, completed=1, total=1)
                self._say(experiment, 'found')
                return Result(**known)
        start = time.monotonic()
        status, memory = self._train(experiment, command, task)
        if status != 0:
            self._say(experiment, 'failed')
            verb = 'evaluating' if experiment.method.evaluates else 'training'
            raise RuntimeError(
                f'{verb} {experiment.name} with seed {experiment.seed} failed; see '
                f'{_log(experiment)}: {_last_line(_log(experiment))}'
            )
        if experiment.method.evaluates:
            metrics, times = _read_test(experiment.work_dir), []
        else:
            metrics, times = _read_scalars(experiment.work_dir)
        result = Result(
            experiment.name,
            experiment.seed,
            metrics,
            round(median(times), 4) if times else math.nan,
            memory,
            round(time.monotonic() - start, 1),
        )
        record = dict(command=command, config=config, **asdict(result))
        write_whole(experiment.record, json.dumps(record, indent=1).encode())
        self.seconds.append(result.seconds)
        if self.progress.tasks[task].total is None:
            # An evaluation tells no iterations.
            self.progress.update(task, completed=1, total=1)
        self._say(experiment, f'done in {_duration(result.seconds)}')
        return result

    def stop(self) -> None:
        """End what is running, and let nothing begin."""
        self.stopped = True
        for process in list(self.processes):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def _train(self, experiment: Experiment, command: list[str], task: TaskID) -> tuple[int, int]:
        """Exit status and peak memory in MiB of the process of a run."""
        experiment.work_dir.mkdir(parents=True, exist_ok=True)
        # Of an earlier config; without it, an interrupted run is not taken for it.
        experiment.record.unlink(missing_ok=True)
        environment = {
            **os.environ,
            **trust_of_children(),
            # One's own number stands: on cores that others use, more threads wait for each other.
            'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', str(self.threads)),
            'PYTHONWARNINGS': 'ignore',
        }
        device = None if self.devices is None else self.devices.get()
        if device is not None:
            environment['CUDA_VISIBLE_DEVICES'] = device
        try:
            with _log(experiment).open('w', buffering=1) as file:
                if self.stopped:
                    return 1, 0
                process = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment,
                    preexec_fn=end_with_parent,
                )
                self.processes.add(process.pid)
                if self.stopped:
                    self.stop()
                for line in process.stdout:
                    file.write(line)
                    if match := _ITERATION.search(line):
                        self._advance(task, int(match[1]), int(match[2]))
                    elif experiment.epochs and (match := _EPOCH.search(line)):
                        self._advance(task, int(match[1]), experiment.epochs)
            # wait4, because only it tells the peak memory of this very child.
            _, status, usage = os.wait4(process.pid, 0)
            self.processes.discard(process.pid)
            return status, round(usage.ru_maxrss / 1024)
        finally:
            if device is not None:
                self.devices.put(device)

    def _advance(self, task: TaskID, completed: int, total: int) -> None:
        """Move the bar of a run, or print a line now and then where no bar is seen."""
        self.progress.update(task, completed=completed, total=total)
        now = time.monotonic()
        if self.progress.console.is_terminal or now - self.said < _LINE_EVERY:
            return
        self.said = now
        running = [
            f'{t.description}: {t.completed:.0f}/{t.total:.0f}'
            for t in self.progress.tasks
            if t.total and not t.finished
        ]
        if running:
            self.progress.console.print('  ' + '; '.join(running), highlight=False)

    def _say(self, experiment: Experiment, what: str) -> None:
        """A line of a run that has ended, with how long the rest will take."""
        if self.stopped:
            return
        self.ended += 1
        left = self.number - self.ended
        rest = ''
        if left and self.seconds:
            rest = f', about {_duration(mean(self.seconds) * left / min(self.jobs, left))} left'
        self.progress.console.print(
            f'{experiment}: {what}, run {self.ended} of {self.number}{rest}', highlight=False
        )


def _log(experiment: Experiment) -> Path:
    return experiment.work_dir / 'train.log'


def _last_line(log: Path) -> str:
    """What a run said last, such as its error."""
    lines = log.read_text(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'it said nothing.')


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _read_scalars(work_dir: Path) -> tuple[dict[str, float], list[float]]:
    """Last evaluation and the time of every logged interval, as LoggerHook wrote them."""
    latest = max(work_dir.glob('*/vis_data/scalars.json'))
    rows: Iterable[dict] = [json.loads(line) for line in latest.read_text().splitlines()]
    evaluations = [row for row in rows if 'loss' not in row]
    times = [row['time'] for row in rows if 'loss' in row]
    return _metrics(evaluations[-1]), times


def _read_test(work_dir: Path) -> dict[str, float]:
    """What tools/test.py wrote last."""
    return _metrics(json.loads(max(work_dir.glob('*/*.json')).read_text()))


def _metrics(row: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key not in ('step', 'time', 'data_time')}


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
