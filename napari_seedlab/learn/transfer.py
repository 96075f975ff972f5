"""What an earlier project brings to a new one: its head as a start, and how far the new seeds lie off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.core import InputError
from napari_seedlab.learn.calibration import softmax
from napari_seedlab.learn.head import Head, class_weights, columns_of, out_of_fold_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_seedlab.learn.head import Floats, Ints

HOLDS = (10.0, 1.0, 0.0)  # how firmly the earlier weights are held on to; 0 drops them
LEAST_P = 0.01  # one answer that a head did not expect weighs no more than this
FAR_QUANTILE = 0.99  # of the earlier seeds' distances: what lies beyond is outside
FAR_SHARE = 0.2  # of the new seeds outside, from which on the shift is told


def mapped(
    head: Head,
    names: Mapping[int, str],
    class_ids: Sequence[int],
    new_names: Mapping[int, str],
    scaler: tuple[Floats, Floats],
) -> Head:
    """The same function of raw vectors, with the classes of another scheme and another standardisation.

    Parameters
    ----------
    head : Head
        Of the earlier project.
    names : mapping of int to str
        Its class names by id.
    class_ids, new_names
        Order of the probability columns wanted, and the class names by id; classes meet by name.
    scaler : (center, scale), each (d,)
        Of the new pool.

    Returns
    -------
    Head
        Whose `n_prior` are the answers of the earlier project, and whose `n_labels` are zero.

    Raises
    ------
    InputError
        The vectors have another width, or fewer than two classes have the same name.
    """
    center, scale = (np.asarray(column, np.float64) for column in scaler)
    if len(center) != len(head.center):
        cause = f"tells vectors of {len(head.center)} entries, these have {len(center)}"
        raise InputError("the model", cause, "Choose the encoder that it was made with")
    place = {names[c]: i for i, c in enumerate(head.class_ids) if head.n_behind[i] and c in names}
    columns = [place.get(new_names[c], -1) for c in class_ids]
    known = np.asarray(columns) >= 0
    if known.sum() < 2:
        theirs = ", ".join(place) or "none"
        raise InputError("the model", f"knows other classes ({theirs})", "Name the classes alike")
    weight = head.weight[:, columns] * (scale / head.scale)[:, None]
    bias = head.bias[columns] + ((center - head.center) / head.scale) @ head.weight[:, columns]
    weight[:, ~known], bias[~known] = 0.0, bias[known].min()
    behind = np.where(known, head.n_behind[columns], 0)
    return Head(
        tuple(int(c) for c in class_ids),
        center,
        scale,
        weight,
        bias,
        (0,) * len(columns),
        head.temperature,
        tuple(behind.tolist()),
    )


def choose_hold(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    prior: Head,
    random_state: int,
) -> float:
    """How firmly to hold on to an earlier head, from the answers so far; 0 drops it.

    The one of ``HOLDS`` with the least cross-validated log loss in which each class counts alike. One
    answer is judged by the earlier head alone.
    """
    columns = columns_of(class_of, class_ids)
    if not len(columns):
        return HOLDS[0]
    weight = class_weights(columns, len(class_ids))
    losses = []
    for hold in HOLDS:
        given = prior if hold else None
        logits = out_of_fold_logits(vectors, class_of, class_ids, scaler, random_state, given, hold or 1.0)
        own = softmax(logits)[np.arange(len(columns)), columns]
        losses.append(float(-(weight * np.log(np.maximum(own, LEAST_P))).mean()))
    return HOLDS[int(np.argmin(losses))]


def held(
    vectors: Floats,
    class_of: Ints,
    class_ids: Sequence[int],
    scaler: tuple[Floats, Floats],
    prior: Head | None,
    random_state: int,
) -> tuple[Head | None, float]:
    """`prior` and `hold` of :func:`~napari_seedlab.learn.head.fit_head`; (None, 1) where it is dropped."""
    if prior is None:
        return None, 1.0
    hold = choose_hold(vectors, class_of, class_ids, scaler, prior, random_state)
    return (prior, hold) if hold else (None, 1.0)
