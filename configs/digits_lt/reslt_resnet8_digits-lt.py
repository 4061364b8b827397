# ResLT: branches for all classes, for medium and few, and for few, whose logits are summed. The
# groups are those of the evaluation.
_base_ = 'ce_resnet8_digits-lt.py'
groups_of_branches = dict(sizes=(3, 3, 4))
model = dict(neck=None, head=dict(type='lt_mm.ResLTClsHead', beta=0.995, groups=groups_of_branches))
