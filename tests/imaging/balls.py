"""A ball of voxels and the box of a mask."""

import numpy as np


def ball(shape, centre, radius, scale=(1, 1, 1)):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return (((grid - centre) * scale) ** 2).sum(-1) <= radius**2


def box_of(mask):
    where = np.argwhere(mask)
    return np.concatenate([where.min(0), where.max(0) + 1]).astype(np.int32)
