# GML with a teacher, the balanced softmax model, which is trained first, or found.
_base_ = 'gml-no-teacher_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/balanced-softmax_resnet8_digits-lt.py', gives='teacher')
)
model = dict(teacher=dict())
