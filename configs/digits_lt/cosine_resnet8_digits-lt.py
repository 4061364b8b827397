# L_cls of the GML paper: cosine classifier, prior added.
_base_ = 'balanced-softmax_resnet8_digits-lt.py'
model = dict(head=dict(classifier='cosine', classifier_temperature=1 / 30))
optim_wrapper = dict(optimizer=dict(lr=0.1))
