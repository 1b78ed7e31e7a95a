"""`splitdata info DIR`: what a dataset is, without reading a record."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from splitdata_cli._render import counted, escape, print_json, print_line, print_table, size_text
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import CacheDescription, DatasetDescription

__all__ = ["info"]


def _print_versions(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from splitdata import FORMAT_VERSION, __version__, compiled_path

        path = compiled_path()
        print_line(f"splitdata {__version__}, format {'.'.join(map(str, FORMAT_VERSION))}")
        print_line("compiled path: " + ("not in use, Python does all" if path is None else escape(path)))
        ctx.exit()


@click.command(short_help="Show what a dataset is.")
@click.argument("path", metavar="DIR")
@click.option("--generation", type=click.IntRange(min=0), help="Of the manifest to describe. Default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, with each segment.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions of library and format, and whether the compiled path is in use, and exit.",
)
@store_option
def info(path: str, generation: int | None, as_json: bool) -> None:
    """Show what the dataset in DIR is: records, bytes, bins, fingerprint, metadata.

    Of the folder of a cache: what its samples were made of, and how many there are.
    """
    from splitdata import describe, describe_cache

    cache = describe_cache(path) if generation is None else None
    if cache is not None:
        if as_json:
            print_json(dataclasses.asdict(cache))
        else:
            print_table(_rows_of_cache(cache))
        return
    description = describe(path, generation=generation)
    if as_json:
        derived = {
            "mean_record_bytes": description.mean_record_bytes,
            "record_codec": description.record_codec,
            "schemas": list(map(str, description.schemas)),
            "schema": None if description.schema is None else str(description.schema),
        }
        print_json(dataclasses.asdict(description) | derived)
    else:
        print_table(_rows(description))


def _rows(dataset: DatasetDescription) -> list[tuple[str, str]]:
    longest = "unknown" if dataset.max_record_bytes is None else size_text(dataset.max_record_bytes)
    rows = [
        ("dataset", dataset.path),
        ("records", f"{dataset.num_records:,}" + (f", {dataset.record_codec}" if dataset.record_codec else "")),
        ("record size", f"{size_text(dataset.mean_record_bytes)} on average, {longest} at most"),
        ("raw size", size_text(dataset.raw_bytes)),
        ("stored size", size_text(dataset.stored_bytes)),
        ("on disk", size_text(dataset.disk_bytes)),
        *_structure(dataset),
        ("fingerprint", dataset.fingerprint),
    ]
    dictionaries = [segment.dictionary_bytes for segment in dataset.segments if segment.dictionary_bytes]
    if dictionaries:
        rows.append(("dictionaries", f"{size_text(sum(dictionaries))} in {counted(len(dictionaries), 'segment')}"))
    groups = sorted({segment.group for segment in dataset.segments if segment.group > 1})
    if groups:
        num_grouped = sum(segment.num_records for segment in dataset.segments if segment.group > 1)
        rows.append(("groups", f"{counted(num_grouped, 'record')} in groups of {', '.join(map(str, groups))}"))
    if dataset.num_keys:
        rows.append(("keys", counted(dataset.num_keys, "key")))
    if dataset.num_deleted:
        rows.append(("deleted", counted(dataset.num_deleted, "record")))
    if dataset.schema is not None:
        rows.append(("schema", str(dataset.schema)))
    elif dataset.schemas:
        rows.append(("schemas", f"{len(dataset.schemas)}, `splitdata schema` shows them"))
    rows += [("metadata", f"{key} = {json.dumps(value)}") for key, value in dataset.metadata.items()]
    rows += [("damage", problem) for problem in dataset.problems]
    if dataset.unlisted_segments:
        count = counted(len(dataset.unlisted_segments), "segment")
        rows.append(("not committed", f"{count} of writers that are at work or were killed"))
    return rows


def _rows_of_cache(cache: CacheDescription) -> list[tuple[str, str]]:
    rows = [("cache", cache.path), ("on disk", size_text(cache.disk_bytes))]
    for one in cache.generations:
        share = f"{one.num_samples:,} of {counted(one.num_records, 'record')}"
        rows += [
            ("generation", f"of epoch {one.epoch}: {share}, by {counted(one.num_writers, 'writer')}"),
            ("  transform", one.transform or "none"),
            ("  version", "none" if one.version is None else one.version),
            ("  seed", str(one.seed)),
            ("  dataset", one.dataset),
        ]
        if one.num_damaged:
            rows.append(("  damage", f"{counted(one.num_damaged, 'part')} cannot be read"))
    return rows


def _structure(dataset: DatasetDescription) -> list[tuple[str, str]]:
    bins = counted(dataset.num_bins, "bin")
    if dataset.layout != "splitdata":
        return [("bins", bins), ("layout", f"{dataset.layout}, read-only")]
    return [
        ("bins", f"{bins} in {counted(dataset.num_segments, 'segment')}"),
        ("generation", str(dataset.generation)),
        ("format", ".".join(map(str, dataset.format_version))),
        ("id", dataset.dataset_id),
    ]
