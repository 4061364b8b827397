# GML with the cross-entropy model as teacher; train configs/ce_fcn_r18_digits.py first.
_base_ = 'gml_fcn_r18_digits_no-teacher.py'
model = dict(
    type='lt_mm.TeacherEncoderDecoder',
    teacher=dict(
        config='{{ fileDirname }}/ce_fcn_r18_digits.py',
        checkpoint='work_dirs/ce_fcn_r18_digits/iter_1500.pth'))
