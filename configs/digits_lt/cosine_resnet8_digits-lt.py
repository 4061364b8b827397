# L_cls of the GML paper: cosine classifier, prior added; the teacher of GML.
_base_ = 'balanced-softmax_resnet8_digits-lt.py'
model = dict(head=dict(classifier='cosine', temperature=1 / 30))
