"""croissant.json: what a version is, for catalogues and tools that know nothing of TFDS.

The format is Croissant 1.0 (mlcommons.org/croissant/1.0), JSON-LD of schema.org's Dataset. It is
made of the manifest alone: the name, a description, every file with its sha256, and the splits with
their counts. Like the manifest it holds no time. Versions of before have no such file and stay
valid; `of` makes the content for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rl_datasets.published import file_formats, manifest

FILE_NAME = "croissant.json"
_ENCODING = {
    file_formats.TFRECORD: "application/x-tfrecord",
    file_formats.ARRAY_RECORD: "application/x-array-record",
}
_JSON = "application/json"
_TERMS = re.findall(
    r"\w+",
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format "
    "includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated "
    "replace samplingRate separator source subField transform",
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _TERMS},
}
_COUNTS = ("episodes", "transitions")


def of(published: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a version.

    Args:
      published: its manifest, as `Version.manifest`.
    """
    plan, splits = published["plan"], published["splits"]
    config = f"/{plan['config']}" if plan["config"] else ""
    shards = {name for split in splits for name in manifest.shard_names(published, split)}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{plan['dataset']}{config}",
        "version": plan["version"],
        "description": _description(published),
        "keywords": ["reinforcement learning", "offline reinforcement learning", "RLDS"],
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{entry['size']} B",
                "encodingFormat": _ENCODING[manifest.file_format(plan)]
                if name in shards
                else _JSON,
                "sha256": entry["sha256"],
            }
            for name, entry in published["files"].items()
            if name != FILE_NAME
        ],
        "recordSet": [_splits(splits)],
    }


def text(published: Mapping[str, Any]) -> str:
    """The content of the file; see `of`."""
    return json.dumps(of(published), indent=1) + "\n"


def _description(published: Mapping[str, Any]) -> str:
    plan, splits = published["plan"], published["splits"].values()
    counted = [
        f"{sum(split[noun] for split in splits):,} {noun}"
        for noun in _COUNTS
        if all(noun in split for split in splits)
    ]
    source = plan["lineage"].get("source")
    return (
        f"Logged reinforcement-learning data: {' with '.join(counted)}, as a dataset of TFDS"
        + (" in the format of RLDS" if len(counted) > 1 else "")
        + (f". Source: {source}" if isinstance(source, str) and source else "")
        + f". {manifest.FILE_NAME} beside this file says what it was made from."
    )


def _splits(splits: Mapping[str, Any]) -> dict[str, Any]:
    """The record set of the splits, whose records are written here."""
    nouns = [noun for noun in _COUNTS if all(noun in split for split in splits.values())]
    types = {"name": "sc:Text"} | dict.fromkeys(nouns, "sc:Integer")
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
            for name, kind in types.items()
        ],
        "data": [
            {"splits/name": name} | {f"splits/{noun}": split[noun] for noun in nouns}
            for name, split in splits.items()
        ],
    }
