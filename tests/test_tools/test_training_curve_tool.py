"""The curve tool draws what runs logged, and says what is missing."""

import json

import pytest


def write_log(folder):
    path = folder / '20250101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(dict(step=s, tau=0.1 / s)) for s in (1, 2, 3)))


def test_draws_named_runs(tmp_path, run_tool, capsys):
    write_log(tmp_path / 'a')
    write_log(tmp_path / 'b')
    out = tmp_path / 'curve.png'
    run_tool(
        'analysis_tools/training_curve.py', tmp_path / 'a', tmp_path / 'b', '--key', 'tau',
        '--names', 'first', 'second', '--out', out, cwd=tmp_path,
    )  # fmt: skip
    assert out.read_bytes().startswith(b'\x89PNG') and str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['--key', 'loss'], "'loss' is not in the log"),
        (['--key', 'tau', '--names', 'a', 'b'], '2 --names were given for 1 runs'),
    ],
)
def test_missing_key_and_names(tmp_path, run_tool, capsys, arguments, told):
    write_log(tmp_path / 'a')
    with pytest.raises(SystemExit, match='2'):
        run_tool('analysis_tools/training_curve.py', tmp_path / 'a', *arguments, cwd=tmp_path)
    assert told in capsys.readouterr().err
