"""Every tool finds out that it cannot write before it works, and says what to do."""

import pytest

DIGITS = 'configs/digits_lt/ce_resnet8_digits-lt.py'


@pytest.mark.parametrize(
    ('tool', 'argv', 'told'),
    [
        ('train', (DIGITS, '--work-dir', 'taken'), '--work-dir taken is a file'),
        ('test', (DIGITS, 'w.pth', '--work-dir', 'taken'), '--work-dir taken is a file'),
        ('test', (DIGITS, 'w.pth', '--out', 'taken/p.pkl'), 'with --out.'),
        ('compare', (DIGITS, '--work-dir', 'taken', '--budget', '2'), 'with --work-dir.'),
        ('analysis_tools/alpha_sweep', (DIGITS, 'w.pth', '--out', 'taken'), 'with --out.'),
        ('analysis_tools/confusion_matrix', (DIGITS, 'w.pth', '--out', 'taken'), 'with --out.'),
        ('analysis_tools/diagnose', (DIGITS, '--out', 'taken'), 'with --out.'),
        ('analysis_tools/benchmark', (DIGITS, '--work-dir', 'taken'), '--work-dir taken is a file'),
        ('analysis_tools/get_flops', (DIGITS, '--json', 'taken/flops.json'), 'with --json.'),
        ('analysis_tools/class_counts', (DIGITS, '--out-dir', 'taken'), 'with --out-dir.'),
        ('misc/browse_dataset', (DIGITS, '--output-dir', 'taken'), 'with --output-dir.'),
    ],
)
def test_a_file_in_the_way(run_tool, tools, tmp_path, capsys, tool, argv, told):
    (tmp_path / 'taken').write_text('')
    (tmp_path / 'w.pth').write_bytes(b'')
    argv = [str(tools.parent / each) if each == DIGITS else each for each in argv]
    with pytest.raises(SystemExit, match='2'):
        run_tool(f'{tool}.py', *argv, cwd=tmp_path)
    error = capsys.readouterr().err
    assert told in error and 'Errno' not in error
    assert '--work-dir taken' in error or 'Nothing can be written in taken (it is a file)' in error
