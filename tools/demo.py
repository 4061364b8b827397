"""The tools on a small data set: compare methods, sweep alpha, diagnose the plainly trained model.

These are three commands for any config of mmsegmentation or mmpretrain; each is printed before it
runs, to be given with a config of your own.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from lt_mm.engine.saved_checkpoints import last_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/digit_scenes/gml_fcn_r18_digits_no-teacher.py'


def main(argv: list[str] | None = None) -> None:
    """Run the three tools one after another, and say where their pages are."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--budget', type=int, default=500, metavar='ITERS',
        help='iterations of each training (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs', 'demo'))
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='of the config'
    )
    args = parser.parse_args(argv)
    out = args.out_dir
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    run(
        'compare.py', ROOT / CONFIG, '--methods', 'ce,gml', '--seeds', 1, '--budget', args.budget,
        '--jobs', 2, '--work-dir', out / 'compare', *options,
    )  # fmt: skip
    # What compare.py made of the config for cross-entropy, and its checkpoint.
    plain = out / 'compare' / 'configs' / 'ce.py'
    checkpoint = last_checkpoint(out / 'compare' / 'runs' / 'ce' / 'seed0')
    run('analysis_tools/alpha_sweep.py', plain, checkpoint, '--out', out / 'alpha_sweep')
    run('analysis_tools/diagnose.py', plain, checkpoint, '--out', out / 'diagnose')
    print('\nLook at:')
    for name in ('compare/comparison.html', 'alpha_sweep/alphas.png', 'diagnose/diagnosis.html'):
        print(f'  {out / name}')


def run(tool: str, *arguments: object) -> None:
    """Print a command as one would type it, and run it."""
    words = [str(word) for word in arguments]
    print(f'\n$ {shlex.join(["tools/" + tool, *words])}', flush=True)
    status = subprocess.run([sys.executable, str(ROOT / 'tools' / tool), *words]).returncode
    if status:
        sys.exit(status)


if __name__ == '__main__':
    main()
