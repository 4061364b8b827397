"""A trained model as a folder that plain mmsegmentation or mmpretrain runs."""
