"""Write the metafiles of configs that were measured, from the committed results.

They tell mim and mmengine's hub which models there are; `model-index.yml` names them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import yaml

from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT, ROOT, Benchmark, Method

RESULTS = ROOT / 'tools' / 'benchmarks' / 'results'
# Folder of the configs, and name of the results -> what was compared, and on what.
MEASURED = {
    'digit_scenes': (
        DIGIT_SCENES,
        dict(Task='Semantic Segmentation', Dataset='digit scenes, validation split'),
        ['ResNet-18', 'FCN'],
    ),
    'digits_lt': (
        DIGITS_LT,
        dict(Task='Image Classification', Dataset='DigitsLT, test split'),
        ['ResNet-8'],
    ),
}


def metafile(folder: str) -> dict:
    """Content of a metafile.

    Args:
        folder: of the configs, one of ``MEASURED``.

    Returns:
        dict: A collection and its models; metrics are percent, means over the seeds.
    """
    benchmark, results, architecture = MEASURED[folder]
    runs = json.loads((RESULTS / f'{folder}.json').read_text())['runs']
    data = results['Dataset'].partition(',')[0]
    name = f'lt_mm on {data}'
    seeds = len({run['seed'] for run in runs})
    metadata = {'Training Data': data, 'Architecture': architecture, 'Seeds': seeds}
    models = []
    for key, method in benchmark.methods.items():
        metrics = [run['metrics'] for run in runs if run['method'] == key]
        model = {
            'Name': '_'.join(filter(None, (Path(method.config).stem, method.variant))),
            'In Collection': name,
            'Config': method.config,
            'Metadata': _metadata(method, benchmark),
            'Results': [{**results, 'Metrics': _means(metrics, benchmark.metrics)}],
        }
        models.append(model)
    return dict(Collections=[dict(Name=name, Metadata=metadata)], Models=models)


def _metadata(method: Method, benchmark: Benchmark) -> dict:
    metadata = dict(Method=method.label)
    if method.variant:
        metadata['Variant'] = method.variant
    if method.teacher:
        metadata['Teacher'] = benchmark.methods[method.teacher].label
    return metadata


def _means(runs: list[Mapping[str, float]], headings: Mapping[str, str]) -> dict[str, float]:
    return {heading: round(mean(run[key] for run in runs), 1) for key, heading in headings.items()}


def write(configs: Path) -> None:
    """Write all metafiles.

    Args:
        configs: folder with a folder for each data set.
    """
    for folder in MEASURED:
        text = yaml.safe_dump(
            metafile(folder),
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=100,
        )
        path = configs / folder / 'metafile.yml'
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'# Written by tools/benchmarks/metafiles.py.\n{text}', encoding='utf-8')


if __name__ == '__main__':
    write(ROOT / 'configs')
