"""One benchmark as a command: train its methods over seeds, show their tables, keep the results."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lt_mm.benchmark.experiments import Experiment, run_all, write_results
from lt_mm.benchmark.expert_results import with_experts
from lt_mm.benchmark.methods import Benchmark
from lt_mm.benchmark.tables import INFERENCE_COSTS, summary_table


def add_arguments(
    parser: argparse.ArgumentParser,
    benchmark: Benchmark,
    methods: Sequence[str],
    seeds: Sequence[int],
    jobs: int,
) -> None:
    """Add what :func:`run_benchmark` asks for.

    Args:
        parser: changed in place.
        benchmark: whose methods can be chosen.
        methods: default of ``--methods``.
        seeds: default of ``--seeds``.
        jobs: default of ``--jobs``.
    """
    parser.add_argument(
        '--methods', nargs='+', default=list(methods), choices=[*benchmark.methods, 'all'],
        help='what to train; teachers are added (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--seeds', nargs='+', type=int, default=list(seeds), help='default: %(default)s'
    )
    parser.add_argument(
        '--jobs', type=int, default=jobs, help='runs at a time (default: %(default)s)'
    )
    parser.add_argument('--out-dir', type=Path, default=benchmark.out_dir)
    parser.add_argument('--json', type=Path, help='also write the results to this file')
    parser.add_argument('--reuse', action='store_true', help='keep runs that already ended')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every run'
    )


def run_benchmark(
    benchmark: Benchmark,
    args: argparse.Namespace,
    options: Sequence[str] = (),
    console: Console | None = None,
) -> list[Experiment]:
    """Train and evaluate, print one table, and one of experts and costs if there are experts.

    Args:
        benchmark: the methods.
        args: those of :func:`add_arguments`.
        options: ``key=value`` overrides of every config, before those of ``--cfg-options``.
        console: to print to.

    Returns:
        list[Experiment]: All that ran, a seed after the other.
    """
    chosen = list(benchmark.methods) if 'all' in args.methods else args.methods
    names = benchmark.with_teachers(chosen)
    methods = {name: benchmark.methods[name] for name in names}
    epochs = None
    if benchmark.epochs:
        epochs = next(iter(methods.values())).load().train_cfg.max_epochs
    experiments = [
        Experiment(
            name,
            method,
            seed,
            args.out_dir,
            (*options, *args.cfg_options),
            epochs,
            tuple(benchmark.files),
        )
        for seed in args.seeds
        for name, method in methods.items()
    ]
    results = run_all(experiments, args.jobs, args.reuse)
    labels = {name: method.label for name, method in methods.items()}
    # Wider than the 80 columns that rich assumes where there is no terminal.
    console = console or Console(width=max(160, Console().width))
    console.print(summary_table(results, labels, benchmark.metrics, benchmark.costs))
    rows, row_labels = with_experts(experiments, results, benchmark)
    if any('/' in row.method for row in rows):
        console.print(summary_table(rows, row_labels, benchmark.metrics, INFERENCE_COSTS))
    if args.json:
        write_results(args.json, results, labels, args.jobs, rows, row_labels)
    return experiments
