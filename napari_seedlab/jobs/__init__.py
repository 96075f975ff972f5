"""Background computations: job folders, and the runners that compute them in other processes."""

from napari_seedlab.jobs.cluster import ClusterRunner
from napari_seedlab.jobs.detached import adopt, is_resumable, run_detached
from napari_seedlab.jobs.execute import execute
from napari_seedlab.jobs.inline import InlineRunner
from napari_seedlab.jobs.runner import JobEvents, Runner

__all__ = [
    "ClusterRunner",
    "InlineRunner",
    "JobEvents",
    "Runner",
    "adopt",
    "execute",
    "is_resumable",
    "run_detached",
]
