"""The demo's per-class picture from CSV files."""

from lt_mm.visualization import demo_report


def test_per_class_picture_takes_unknown_accuracies(tmp_path):
    header = 'class,group,count,iou,acc,label_pixels,pred_pixels\n'
    (tmp_path / 'a.csv').write_text(header + 'sky,head,90,50,60,1,1\nsign,tail,3,,,0,0\n')
    path = demo_report.draw_per_class({'ce': tmp_path / 'a.csv'}, tmp_path / 'picture.png')
    assert path.stat().st_size > 10000
