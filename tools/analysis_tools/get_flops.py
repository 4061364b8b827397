"""Parameters and FLOPs of the models of configs, side by side.

Counted is what one image costs from preprocessed pixels to logits, a multiply-add being one FLOP.
Models are built with random weights: nothing is downloaded, and no data set is needed.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config, DictAction
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lt_mm.benchmark.methods import ROOT
from lt_mm.benchmark.model_costs import ModelCosts, config_costs
from lt_mm.engine.launch import check_writable, select_variant, stop


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='+',
        help='config files; a relative path is taken from the current directory, then from the '
        'repository; the last column holds the others against the first',
    )
    parser.add_argument(
        '--shape',
        '--size',
        dest='size',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help='height and width of the image, or its side; default: what each config trains on',
    )
    parser.add_argument('--json', type=Path, help='write the numbers to this file, too')
    parser.add_argument('--variant', metavar='NAME', help='of every config, such as r101')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='config overrides'
    )
    return parser.parse_args()


def main() -> None:
    """Count, print, write."""
    args = parse_args()
    if args.size and len(args.size) > 2:
        stop(f'--size has {len(args.size)} numbers: give height and width, or one for both.')
    if args.json:
        try:
            check_writable(args.json.parent, '--json', (args.json.name,))
        except OSError as error:
            stop(str(error))
    size = (args.size[0], args.size[-1]) if args.size else None
    rows = {}
    for path in track(args.configs, 'Counting', console=Console(stderr=True)):
        file = Path(path) if Path(path).is_file() else ROOT / path
        if not file.is_file():
            stop(f'Config {path} is neither in {Path.cwd()} nor in {ROOT}: check its spelling.')
        config = Config.fromfile(file)
        select_variant(config, args.variant)
        config.merge_from_dict(args.cfg_options or {})
        try:
            rows[path] = config_costs(config, size)
        except (FileNotFoundError, ValueError) as error:
            stop(f'Cannot count {path}: {error}')
    Console(width=160).print(table(rows))
    if args.json:
        numbers = {path: asdict(costs) for path, costs in rows.items()}
        args.json.write_text(json.dumps(numbers, indent=1) + '\n')


def table(rows: dict[str, ModelCosts]) -> Table:
    """One row a config, with its FLOPs as multiples of the first one's."""
    headings = ('parameters', 'of them at inference', 'image', 'MFLOPs', 'x the first')
    result = Table('config', box=box.MARKDOWN)
    for heading in headings:
        result.add_column(heading, justify='right')
    first = next(iter(rows.values())).flops
    for path, costs in rows.items():
        result.add_row(
            Path(path).stem,
            f'{costs.parameters:,}',
            f'{costs.inference_parameters:,}',
            f'{costs.size[0]}x{costs.size[1]}',
            f'{costs.flops / 1e6:,.1f}',
            f'{costs.flops / first:.2f}',
        )
    return result


if __name__ == '__main__':
    main()
