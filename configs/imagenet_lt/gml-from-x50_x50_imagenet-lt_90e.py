# Table 6: the teacher ResNeXt-50.
_base_ = 'gml_x50_imagenet-lt_90e.py'
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_x50_imagenet-lt_90e.py'))
