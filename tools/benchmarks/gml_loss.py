"""Time and memory of the GML likelihood, forward and backward, beside a dense one and the floor.

'dense' holds all similarities and sums them by a product with a one-hot matrix; 'floor' is the
bare products that no exact method in bounded memory can avoid: the similarities, the same once
more in the backward pass, and the two gradients.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from lt_mm.benchmark.measurement import describe_environment, in_fresh_process, peak_memory
from lt_mm.functional import class_log_likelihood
from lt_mm.visualization.growth import plot_growth

BASE = dict(N=16384, K=8192, D=256, C=150)
GROWTH = dict(
    N=(1024, 4096, 16384, 32768),
    K=(2048, 8192, 16384),
    D=(64, 128, 256, 512),
    C=(19, 150, 1000, 8142),
)
# Table A.1: a batch, its queue and its embedding.
INATURALIST = dict(N=256, K=65536, D=1024, C=8142)
SIZES = dict(N='queries N', K='keys K', D='width D', C='classes C')
TEMPERATURE = 0.07
# Elements of a block of similarities of the floor, the size that served it best of 2^20 to 2^24
# on two cores; on a GPU, large enough to fill it.
FLOOR_BLOCK = dict(cpu=1 << 21, cuda=1 << 25)
MIB = 1 << 20


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'))
    parser.add_argument('--repeats', type=int, default=5, help='timed rounds (default: 5)')
    parser.add_argument('--base-only', action='store_true', help='leave the growth out')
    parser.add_argument('--shrink', type=int, default=1, help='divide N and K by this, for a try')
    parser.add_argument('--json', type=Path, help='write the results to this file')
    parser.add_argument('--picture', type=Path, help='draw the growth into this PNG')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write, draw."""
    args = parse_args(argv)
    problems = [BASE] if args.base_only else [BASE, *_growth(), INATURALIST]
    problems = [_shrink(problem, args.shrink) for problem in problems]
    rows = [
        in_fresh_process(measure, name, problem, args.device, args.dtype, args.repeats)
        for problem in track(problems, 'Measuring')
        for name in METHODS
    ]
    Console(width=100).print(_table(rows))
    if args.json:
        names = ('device', 'dtype', 'repeats')
        settings = dict(base=problems[0], **{name: getattr(args, name) for name in names})
        document = dict(environment=describe_environment(), settings=settings, rows=rows)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(document, indent=1) + '\n')
    if args.picture:
        plot_growth(rows, problems[0], SIZES, args.picture)


def measure(name: str, problem: dict[str, int], device: str, dtype: str, repeats: int) -> dict:
    """Median seconds and peak extra MiB of one method on one problem, after one round to warm up.

    Extra memory is what the process needs at its highest beyond the inputs, outputs and gradients
    included.
    """
    torch.manual_seed(0)
    n, k, d, c = (problem[key] for key in 'NKDC')
    options = dict(device=device, dtype=getattr(torch, dtype))
    queries = F.normalize(torch.randn(n, d, **options), dim=1).requires_grad_()
    keys = F.normalize(torch.randn(k, d, **options), dim=1).requires_grad_()
    lengths = torch.full((c,), k // c, device=device)
    lengths[: k % c] += 1
    grad = torch.randn(n, c, device=device) / n
    seconds = []
    before = peak_memory(device)
    for _ in range(repeats + 1):
        queries.grad = keys.grad = None
        _synchronize(device)
        start = perf_counter()
        METHODS[name](queries, keys, lengths, grad)
        _synchronize(device)
        seconds.append(perf_counter() - start)
    extra = (peak_memory(device) - before) / MIB
    return dict(method=name, **problem, seconds=median(seconds[1:]), extra_mib=extra)


def ours(queries: Tensor, keys: Tensor, lengths: Tensor, grad: Tensor) -> None:
    """The function that L_GML calls."""
    class_log_likelihood(queries, keys, lengths, TEMPERATURE).backward(grad)


def dense(queries: Tensor, keys: Tensor, lengths: Tensor, grad: Tensor) -> None:
    """All similarities at once, as public implementations have it."""
    classes = torch.repeat_interleave(torch.arange(len(lengths), device=keys.device), lengths)
    one_hot = F.one_hot(classes, len(lengths)).to(keys)
    sums = torch.exp(queries @ keys.T / TEMPERATURE) @ one_hot
    torch.log(sums / lengths.to(sums)).backward(grad.to(sums))


@torch.no_grad()
def floor(queries: Tensor, keys: Tensor, lengths: Tensor, grad: Tensor) -> None:
    """Bare products, a block of queries at a time."""
    size = max(1, FLOOR_BLOCK[queries.device.type] // len(keys))
    blocks = queries.split(size)
    for block in blocks:
        _ = keys @ block.T
    grad_keys = torch.zeros_like(keys)
    grad_queries = torch.empty_like(queries)
    for i, block in enumerate(blocks):
        similarities = keys @ block.T
        torch.mm(similarities.T, keys, out=grad_queries[i * size : i * size + len(block)])
        grad_keys.addmm_(similarities, block)


METHODS: dict[str, Callable] = dict(ours=ours, dense=dense, floor=floor)


def _growth() -> list[dict[str, int]]:
    return [
        {**BASE, key: value}
        for key, values in GROWTH.items()
        for value in values
        if value != BASE[key]
    ]


def _shrink(problem: dict[str, int], by: int) -> dict[str, int]:
    return {**problem, 'N': problem['N'] // by, 'K': problem['K'] // by}


def _synchronize(device: str) -> None:
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def _table(rows: list[dict]) -> Table:
    """One line a problem: seconds and memory of each method, and the ratios that count."""
    titles = ('N', 'K', 'D', 'C', 'ours s', '/ floor', 'dense / ours', 'ours MiB', 'dense MiB')
    table = Table(*titles)
    by_problem: dict[tuple, dict] = {}
    for row in rows:
        by_problem.setdefault(tuple(row[key] for key in 'NKDC'), {})[row['method']] = row
    for sizes, found in by_problem.items():
        mine, other, least = (found[name] for name in ('ours', 'dense', 'floor'))
        table.add_row(
            *map(str, sizes),
            f'{mine["seconds"]:.3f}',
            f'{mine["seconds"] / least["seconds"]:.2f}',
            f'{other["seconds"] / mine["seconds"]:.2f}',
            f'{mine["extra_mib"]:.0f}',
            f'{other["extra_mib"]:.0f}',
        )
    return table


if __name__ == '__main__':
    main()
