# GML with the cross-entropy model as teacher, which is trained first unless a checkpoint is given.
_base_ = 'gml_fcn_r18_digits_no-teacher.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_fcn_r18_digits.py', gives='teacher')
)
model = dict(type='lt_mm.LongTailEncoderDecoder', teacher=dict())
