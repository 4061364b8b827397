import json
import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

from lt_mm.evaluation import CalibrationError

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'reliability_diagram.py'


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name / 'calibration.json' for name in ('ce', 'mislas')]
    for sharpness, path in zip((4, 1), paths):
        metric = CalibrationError(output_json=path)
        scores = (sharpness * torch.randn(50, 10)).softmax(1)
        truth = torch.randint(10, (50, 1))
        metric.process({}, [dict(pred_score=s, gt_label=t) for s, t in zip(scores, truth)])
        metric.evaluate(50)
    return list(map(str, paths))


def test_draws_what_the_metric_wrote(files, tmp_path, capsys):
    out = tmp_path / 'pictures' / 'reliability.png'
    main = runpy.run_path(str(TOOL))['main']
    main([*files, '--names', 'CE', 'MiSLAS', '--out', str(out)])
    assert Image.open(out).size[0] > 900
    assert str(out) in capsys.readouterr().out
    one = tmp_path / 'one.png'
    main([files[0], '--out', str(one)])
    assert Image.open(one).size[0] > 500


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--names', 'CE'], '1 --names were given for 2 files'),
        ([], 'Two files are called the same (calibration, calibration)'),
        (['--names', 'CE', 'CE'], 'Two files are called the same (CE, CE)'),
    ],
)
def test_names_must_tell_the_models_apart(files, arguments, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(TOOL))['main']([*files, *arguments])
    assert message in capsys.readouterr().err


def test_a_file_that_is_missing_or_another_is_named(files, tmp_path, capsys):
    main = runpy.run_path(str(TOOL))['main']
    with pytest.raises(SystemExit, match='2'):
        main([str(tmp_path / 'nowhere.json')])
    assert 'nowhere.json does not exist' in capsys.readouterr().err
    Path(files[0]).write_text(json.dumps(dict(ECE=3)))
    with pytest.raises(SystemExit, match='2'):
        main(files[:1])
    assert 'holds no calibration bins' in capsys.readouterr().err
