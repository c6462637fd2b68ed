"""Training: LoRA on a frozen thinker, from a file of answers worth learning to a model that can be served.

loop         the recipe from top to bottom; `recipe` all its numbers. Begin here
data         the training file, checked, tokenised and cut into steps; `hearing` the clips, computed once
forward      from rows to the loss
state        where a run stands on disk, so that a killed one goes on; `metrics` every step's numbers
plans        what a run would do, before it starts; `preflight` whether it fits
merge        adapter and model become one checkpoint
distributed  the same on several GPUs of one host
scale        the recipe at the full sizes of a 30B model with random weights, measured on one GPU
pocket       the recipe that made the shipped Pocket Listener (`_pocket_*` its parts)

Importing this package imports no torch.
"""
