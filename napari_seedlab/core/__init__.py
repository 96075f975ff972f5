"""The nouns of Seedlab: frozen dataclasses and errors, with numpy alone."""

from napari_seedlab.core.errors import (
    InputError,
    JobCancelled,
    JobError,
    NotReady,
    ProjectDamaged,
    ProjectError,
    ProjectLocked,
    SeedlabError,
    WorkerLost,
    one_line,
)
from napari_seedlab.core.event import (
    Event,
    EventKind,
    Label,
    LabelState,
    answers_of,
    canonical_json,
    event_hash,
)
from napari_seedlab.core.job import (
    TRANSITIONS,
    JobRequest,
    JobResult,
    JobState,
    JobStatus,
    Progress,
)
from napari_seedlab.core.model_card import ModelCard
from napari_seedlab.core.scan import Modality, Scan, ScanFacts
from napari_seedlab.core.scheme import GRAIN_SCHEME, PALETTE, TISSUE_SCHEME, ClassScheme, SeedClass
from napari_seedlab.core.seed import RegionTable, Seed
from napari_seedlab.core.settings import Settings
from napari_seedlab.core.suggestion import ASKS_AGAIN, CHANCE, SURE, Evidence, Suggestion

__all__ = [
    "ASKS_AGAIN",
    "CHANCE",
    "GRAIN_SCHEME",
    "PALETTE",
    "SURE",
    "TISSUE_SCHEME",
    "TRANSITIONS",
    "ClassScheme",
    "Event",
    "EventKind",
    "Evidence",
    "InputError",
    "JobCancelled",
    "JobError",
    "JobRequest",
    "JobResult",
    "JobState",
    "JobStatus",
    "Label",
    "LabelState",
    "Modality",
    "ModelCard",
    "NotReady",
    "Progress",
    "ProjectDamaged",
    "ProjectError",
    "ProjectLocked",
    "RegionTable",
    "Scan",
    "ScanFacts",
    "Seed",
    "SeedClass",
    "SeedlabError",
    "Settings",
    "Suggestion",
    "WorkerLost",
    "answers_of",
    "canonical_json",
    "event_hash",
    "one_line",
]
