# GML with the cross-entropy model as teacher, which is trained first unless a checkpoint is given.
_base_ = 'gml_efficientnet-lite0_freedoom-scenes-small_no-teacher.py'
earlier_stages = dict(
    teacher=dict(
        config='{{ fileDirname }}/ce_efficientnet-lite0_freedoom-scenes-small.py', gives='teacher'
    )
)
model = dict(type='lt_mm.LongTailEncoderDecoder', teacher=dict())
