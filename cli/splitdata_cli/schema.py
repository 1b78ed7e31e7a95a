"""`splitdata schema DIR`: what the samples of a dataset are, without reading one."""

from __future__ import annotations

import click

from splitdata_cli._render import print_json, print_line
from splitdata_cli._store import store_option

__all__ = ["schema"]


@click.command(short_help="Show what the samples of a dataset are.")
@click.argument("path", metavar="DIR")
@click.option("--generation", type=click.IntRange(min=0), help="Of the manifest to read. Default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def schema(path: str, generation: int | None, as_json: bool) -> None:
    """Show the schema that the dataset in DIR declares for all of its samples, or else each that some of them have.

    A schema says types and shapes: {'image': uint8[224,224,3], 'label': int, 'note': str?}. Samples that carry their
    own, which is rare, are not looked at.
    """
    from splitdata import describe

    found = describe(path, generation=generation)
    if as_json:
        declared = None if found.schema is None else str(found.schema)
        print_json({"path": found.path, "declared": declared, "schemas": list(map(str, found.schemas))})
        return
    shown = found.schemas if found.schema is None else (found.schema,)
    for one in shown:
        print_line(str(one))
    if not shown:
        print_line(
            f"no schemas: {found.path} holds " + (f"records of {found.record_codec}" if found.record_codec else "bytes")
        )
