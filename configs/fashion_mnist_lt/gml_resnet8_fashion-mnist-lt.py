# GML with the balanced softmax model as teacher, which is trained first, or found.
_base_ = 'gml_resnet8_fashion-mnist-lt_no-teacher.py'
balanced = '{{ fileDirname }}/balanced-softmax_resnet8_fashion-mnist-lt.py'
earlier_stages = dict(teacher=dict(config=balanced, gives='teacher'))
model = dict(teacher=dict())
