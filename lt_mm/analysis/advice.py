"""What to try next: each piece of advice follows from a figure of the diagnosis, and names it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lt_mm.structures.class_groups import SHOTS

# From where on a figure is worth a word. Shares are from 0 to 1.
IMBALANCE = 10.0
GAP = 0.10
TAIL_TO_OTHERS = 0.20
FEW_IMAGES = 0.01
SHIFT = 0.10
NORM_CORRELATION = 0.5
CALIBRATION_GAP = 0.05
SMALL_GAP = 0.20
COMPANY = 0.95
_LARGER = 1.5


@dataclass(frozen=True)
class Commands:
    """Commands of this repository for one config and perhaps its checkpoint.

    Args:
        config: path as on the command line.
        checkpoint: likewise; None if there is none.
        options: further ones of every command, such as ``--variant NAME``.
        settings: overrides of the config, KEY=VALUE.
    """

    config: str
    checkpoint: str | None = None
    options: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def trained(self, tool: str, *arguments: str, settings: Sequence[str] = ()) -> str:
        """Command of a tool that takes a config and its checkpoint."""
        return self.plain(tool, str(self.checkpoint), *arguments, settings=settings)

    def plain(self, tool: str, *arguments: str, settings: Sequence[str] = ()) -> str:
        """Command of a tool that takes a config."""
        words = ['python', f'tools/{tool}', self.config, *arguments, *self.options]
        settings = [*self.settings, *settings]
        return shlex.join([*words, *(['--cfg-options', *settings] if settings else [])])


def advise(
    content: Mapping[str, Any], commands: Commands, pipeline: Sequence[Mapping]
) -> list[dict[str, Any]]:
    """Say what to try, most promising first; nothing where nothing is wrong.

    Args:
        content: ``diagnosis.json`` without advice, see :func:`~lt_mm.analysis.diagnosis.diagnose`.
        commands: of the config.
        pipeline: ``type`` and ``scale`` of the steps of the validation set.

    Returns:
        ``finding`` (a sentence with the figures), ``section`` of the report that shows them,
        ``figures`` by their place in the JSON, ``advice`` (a sentence) and ``command``.
    """
    found = []
    if content.get('model'):
        found += _of_model(content, commands)
        found += _of_small_regions(content, commands, pipeline)
    if content['data'].get('train'):
        found += _of_data(content, commands)
    return found


def _of_model(content: Mapping[str, Any], commands: Commands) -> Iterator[dict[str, Any]]:
    model, names = content['model'], content['group_names']
    head, tail = names[0], names[-1]
    often, rare = (f'{name}-shot' if name in SHOTS else name for name in (head, tail))
    sweep = 'analysis_tools/alpha_sweep.py'
    row = model['group_confusion'][tail]
    others = {name: row[name] for name in names[:-1] if row[name] is not None}
    if sum(others.values()) >= TAIL_TO_OTHERS:
        parts = ', '.join(f'{name} {share:.1%}' for name, share in others.items())
        yield _advice(
            f'Of {rare} classes, {sum(others.values()):.1%} on average are predicted as classes of '
            f'more frequent groups ({parts}).',
            'groups',
            {f'model.group_confusion.{tail}.{name}': share for name, share in others.items()},
            'Logits can be adjusted for the prior after training: look at all strengths at once.',
            commands.trained(sweep),
        )
    accuracies = [model['groups'][name]['accuracy'] for name in (head, tail)]
    if None not in accuracies and accuracies[0] - accuracies[1] >= GAP:
        yield _advice(
            f'Accuracy of {often} classes is {accuracies[0]:.1%} on average, of {rare} classes '
            f'{accuracies[1]:.1%}.',
            'groups',
            {f'model.groups.{name}.accuracy': model['groups'][name]['accuracy'] for name in names},
            'Train with losses that know the class counts, at equal budgets, and compare.',
            commands.plain('compare.py', '--methods', 'ce,la,gml'),
        )
    correlation = (model.get('norms') or {}).get('weight_correlation')
    if correlation is not None and correlation >= NORM_CORRELATION:
        yield _advice(
            'Classifier weights are the longer the more frequent a class is: rank correlation '
            f'{correlation:.2f}.',
            'norms',
            {'model.norms.weight_correlation': correlation},
            'A classifier of cosines does not let frequent classes win by their norms.',
            commands.plain('compare.py', '--methods', 'ce,cosine'),
        )
    calibration = model['calibration']['groups']
    errors = [calibration[name]['ECE'] for name in (head, tail)]
    if None not in errors and errors[1] - errors[0] >= CALIBRATION_GAP:
        yield _advice(
            f'Calibration error is {errors[1]:.1%} in {rare} classes (confidence '
            f'{calibration[tail]["confidence"]:.1%}, accuracy '
            f'{calibration[tail]["accuracy"]:.1%}), against {errors[0]:.1%} in {often} classes.',
            'calibration',
            {f'model.calibration.groups.{name}.ECE': calibration[name]['ECE'] for name in names},
            *_of_calibration(content['task'], commands, sweep),
        )
    shift = content['data'].get('prior_shift')
    if shift and shift['total_variation'] >= SHIFT:
        yield _advice(
            f'{shift["total_variation"]:.1%} of the samples would have to change their class for '
            'the validation set to have the frequencies of the training set.',
            'shift',
            {'data.prior_shift.total_variation': shift['total_variation']},
            'If the frequencies of the validation set are those of use, predict for them.',
            commands.trained(sweep, '--target-prior', content['files']['val_counts']),
        )


def _of_calibration(task: str, commands: Commands, sweep: str) -> tuple[str, str]:
    """Advice and command; the sweep has calibration errors of images, and of pixels none."""
    if task == 'classification':
        advice = 'The sweep shows the calibration error at each strength, too.'
        return advice, commands.trained(sweep)
    advice = 'Write the model with another strength of logit adjustment, and diagnose it, too.'
    return advice, commands.trained(sweep, '--fold', '1')


def _of_small_regions(
    content: Mapping[str, Any], commands: Commands, pipeline: Sequence[Mapping]
) -> Iterator[dict[str, Any]]:
    small = content['model'].get('small_regions')
    if not small or None in (small['found'], small['found_larger']):
        return
    if small['found_larger'] - small['found'] < SMALL_GAP:
        return
    command = commands.trained('test.py', '--tta') if content['has_tta'] else None
    for index, step in enumerate(pipeline):
        scale = step.get('scale')
        if str(step.get('type')).endswith('Resize') and isinstance(scale, list | tuple):
            larger = ','.join(str(round(_LARGER * side)) for side in scale)
            setting = f'test_dataloader.dataset.pipeline.{index}.scale=({larger})'
            command = commands.trained('test.py', settings=[setting])
            break
    if command is None:
        return
    yield _advice(
        f'Of {small["number"]:,} regions below 32 x 32 pixels {small["found"]:.0%} are found, of '
        f'larger ones {small["found_larger"]:.0%}.',
        'regions',
        {f'model.small_regions.{name}': small[name] for name in ('found', 'found_larger')},
        'Look at larger images; if that helps, train on them.',
        command,
    )


def _of_data(content: Mapping[str, Any], commands: Commands) -> Iterator[dict[str, Any]]:
    train = content['data']['train']
    if not content.get('model') and train['imbalance_factor'] >= IMBALANCE:
        yield _advice(
            f'The most frequent class has {train["imbalance_factor"]:,.0f} times the '
            f'{train["unit"]} of the rarest one; the Gini coefficient is {train["gini"]:.2f}.',
            'data',
            {
                'data.train.imbalance_factor': train['imbalance_factor'],
                'data.train.gini': train['gini'],
            },
            'Train with losses that know the class counts, at equal budgets, and compare.',
            commands.plain('compare.py', '--methods', 'ce,la,gml'),
        )
    limit = FEW_IMAGES * train['samples']
    few = [row['name'] for row in content['classes'] if 0 < row['train']['images'] < max(limit, 1)]
    if few and content['task'] == 'segmentation':
        yield _advice(
            _classes(few, f'in less than {FEW_IMAGES:.0%} of {train["samples"]:,} training images'),
            'classes',
            {'data.train.in_few_images': len(few)},
            'Show images with rare classes more often.',
            commands.plain('compare.py', '--methods', 'ce,rfs'),
        )
    absent = [row['name'] for row in content['classes'] if not row['train']['count']]
    if absent:
        yield _advice(
            _classes(absent, 'nowhere in the training set'),
            'data',
            {'data.train.absent': len(absent)},
            'Nothing can be learnt of them: check the class names and how labels are read.',
            commands.plain('analysis_tools/class_counts.py'),
        )
    together = [
        (row, row['beside'][0])
        for row in content['data'].get('company') or ()
        if row['beside']
        and row['beside'][0]['share'] >= COMPANY
        and row['beside'][0]['share'] - row['beside'][0]['everywhere'] >= GAP
    ]
    if together:
        row, other = together[0]
        what = 'class occurs' if len(together) == 1 else 'classes occur'
        yield _advice(
            f'{len(together)} rare {what} almost only beside one frequent class, such as '
            f'{row["name"]} beside {other["name"]}: {other["share"]:.0%} of its {row["images"]:,} '
            f'images, against {other["everywhere"]:.0%} of all.',
            'company',
            {'data.company': len(together)},
            'Weigh pixels by class, as sampling whole images shows the frequent class as often.',
            commands.plain('compare.py', '--methods', 'ce,la,class-weight'),
        )


def _advice(
    finding: str, section: str, figures: dict[str, Any], advice: str, command: str
) -> dict[str, Any]:
    return dict(finding=finding, section=section, figures=figures, advice=advice, command=command)


def _classes(names: Sequence[str], where: str) -> str:
    shown = ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')
    one = '1 class occurs' if len(names) == 1 else f'{len(names)} classes occur'
    return f'{one} {where}: {shown}.'
