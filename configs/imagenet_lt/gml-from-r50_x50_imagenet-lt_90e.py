# Table 6: the teacher ResNet-50.
_base_ = 'gml_x50_imagenet-lt_90e.py'
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_r50_imagenet-lt_90e.py'))
