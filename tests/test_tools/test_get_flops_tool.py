"""tools/analysis_tools/get_flops.py on configs of the repository."""

import json
import re

import pytest

TOOL = 'analysis_tools/get_flops.py'
CLS = 'configs/digits_lt/ce_resnet8_digits-lt.py'
SEG = 'configs/digit_scenes/gml_fcn_r18_digits.py'


def test_a_table_of_both_tasks(run_tool, tmp_path, capsys):
    run_tool(TOOL, CLS, SEG, '--json', 'out/costs.json', cwd=tmp_path)
    rows = [line.split('|')[1:-1] for line in capsys.readouterr().out.splitlines() if '|' in line]
    rows = [[cell.strip() for cell in row] for row in rows]
    assert rows[0] == [
        'config', 'parameters', 'of them at inference', 'image', 'MFLOPs', 'x the first',
    ]  # fmt: skip
    costs = json.loads((tmp_path / 'out' / 'costs.json').read_text())
    assert list(costs) == [CLS, SEG]
    for row, values in zip(rows[2:], costs.values(), strict=True):
        assert row[1] == f'{values["parameters"]:,}'
        assert row[2] == f'{values["inference_parameters"]:,}'
        assert row[3] == f'{values["size"][0]}x{values["size"][1]}'
        assert row[4] == f'{values["flops"] / 1e6:,.1f}'
        assert row[5] == f'{values["flops"] / costs[CLS]["flops"]:.2f}'
    assert [row[3] for row in rows[2:]] == ['16x16', '96x96']
    # Without the embeddings of the contrast loss.
    assert costs[SEG]['inference_parameters'] < costs[SEG]['parameters']


def test_size_and_options(run_tool, tmp_path, capsys):
    argv = [CLS, '--size', '32', '--cfg-options', 'model.backbone.depth=14']
    run_tool(TOOL, *argv, cwd=tmp_path)
    assert '| 32x32 |' in capsys.readouterr().out


def test_a_variant_is_counted(run_tool, tmp_path, capsys):
    config = 'configs/imagenet_lt/ce_r50_imagenet-lt_180e.py'
    for argv in ([], ['--variant', 'r101']):
        run_tool(TOOL, config, '--json', 'costs.json', *argv, cwd=tmp_path)
        layers = json.loads((tmp_path / 'costs.json').read_text())[config]['parameters']
        # 17 blocks of 1,117,184 parameters more, as torchvision's networks have them.
        assert layers == 25_557_032 + bool(argv) * 17 * 1_117_184


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['nowhere.py'], 'Config nowhere.py is neither in'),
        ([CLS, '--size', '1', '2', '3'], '--size has 3 numbers'),
        ([CLS, '--cfg-options', 'train_dataloader=None'], 'Cannot count .*--size'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run_tool, tmp_path, capsys, argv, told):
    with pytest.raises(SystemExit, match='2'):
        run_tool(TOOL, *argv, cwd=tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if 'Counting' not in line]
    lines = [line for line in lines if line.strip()]
    assert len(lines) == 1
    assert re.search(told, lines[0])
