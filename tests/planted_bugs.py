"""The bugs that `tests/mutations.py` plants, one at a time, and the tests that are to find each.

    Bug: name, file below splitdata/, text as it stands there ──> text with the bug, tests of `make test`

Each is a mistake that somebody could make: a sync that seems to cost time for nothing, two steps in the other order,
a check that never strikes, a kind of record that one tool forgets.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True, slots=True)
class Bug:
    """One change of one file.

    Attributes:
        name: For people.
        file: Below `splitdata/`.
        before: Text that stands there once.
        after: Text in its place.
        tests: What pytest is asked to run.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


POWER = ("tests/faults/test_power_loss.py",)
TOOL_KILLS = ("tests/faults/test_tool_kill.py",)
ERRORS = ("tests/faults/test_io_errors.py",)
FORGED = ("tests/faults/test_forged.py", "tests/faults/test_flips.py", "tests/test_conformance.py")
MERGING = ("tests/dataset/merging",)
PARTS = ("tests/dataset/parts",)
DELETION = ("tests/dataset/deletion",)
RACES = ("tests/faults/test_races.py",)
RETENTION = ("tests/dataset/writing/test_retention.py",)

BUGS: tuple[Bug, ...] = (
    # -- syncs that are left out, or done again -----------------------------------------------------
    Bug(
        "bins are not synced before the commit",
        "dataset/segments/segment_writer.py",
        "            self._bins.sync()\n",
        "",
        POWER,
    ),
    Bug(
        "the index is not synced before the commit",
        "dataset/segments/segment_writer.py",
        "            self._index.sync()\n",
        "",
        POWER,
    ),
    Bug(
        "the manifest is not synced before it gets its name",
        "storage/publish.py",
        "        files.write_at(descriptor, data, 0)\n        if durable:\n            files.sync_data(descriptor)\n"
        "        folder.link_unnamed",
        "        files.write_at(descriptor, data, 0)\n        folder.link_unnamed",
        POWER,
    ),
    Bug(
        "the folder is not synced behind the commit",
        "storage/publish.py",
        "    if published and durable:\n        folder.sync()\n",
        "",
        POWER,
    ),
    Bug(
        "the folder of a new segment is not synced",
        "dataset/segments/new_folder.py",
        "    folder.sync()\n    with directory.opened() as root:",
        "    with directory.opened() as root:",
        POWER,
    ),
    Bug(
        "the folder of all segments is not synced",
        "dataset/segments/new_folder.py",
        "            segments.sync()\n",
        "            pass\n",
        POWER,
    ),
    Bug(
        "keys are not synced before the commit",
        "dataset/keys/key_builder.py",
        "        if durable and descriptor >= 0:\n            files.sync_data(descriptor)\n",
        "",
        POWER,
    ),
    Bug(
        "schemas are not synced before the commit",
        "dataset/segments/segment_writer.py",
        "            self._schemas.sync()\n",
        "",
        POWER,
    ),
    Bug(
        "the name of a list of deleted records is not synced",
        "dataset/segments/deleted_records.py",
        "        _replace(folder, name, half)\n    folder.sync()\n",
        "        _replace(folder, name, half)\n",
        POWER,
    ),
    Bug(
        "files that merge links are not synced",
        "storage/shared_file.py",
        "        files.sync_data(descriptor)\n    finally:\n        files.close(descriptor)\n    return 0",
        "        pass\n    finally:\n        files.close(descriptor)\n    return 0",
        (*MERGING, *POWER),
    ),
    Bug(
        "the folders that lead to the files of a copy are not synced",
        "dataset/stores/copy_dataset.py",
        "            _sync_names(target, manifest)\n",
        "            pass\n",
        POWER,
    ),
    Bug(
        "a failed sync is tried again",
        "storage/files.py",
        '    getattr(os, "fdatasync", os.fsync)(descriptor)\n',
        "    for _ in range(2):\n        with contextlib.suppress(OSError):\n            os.fdatasync(descriptor)\n"
        "            return\n    os.fdatasync(descriptor)\n",
        (*ERRORS, "tests/storage"),
    ),
    # -- steps in another order ---------------------------------------------------------------------
    Bug(
        "the commit is made before its segment is on the medium",
        "dataset/writing/commit.py",
        "                segment.sync(first_position=first, durable=self._durable, is_first_commit=current is None)\n"
        "                base = base.with_segment(segment.info())\n"
        "            if self._publish(base, segment):\n",
        "                segment.sync(first_position=first, durable=False, is_first_commit=current is None)\n"
        "                base = base.with_segment(segment.info())\n"
        "            if self._publish(base, segment):\n"
        "                if segment is not None:\n"
        "                    segment.sync(first_position=first, durable=self._durable, is_first_commit=False)\n",
        POWER,
    ),
    Bug(
        "the manifest is made before the list of deleted records",
        "dataset/deletion/delete.py",
        "            segments = tuple(_with_list(held, info, changed.get(info.id)) for info in manifest.segments)\n",
        "            from splitdata.dataset.segments import deleted_records\n"
        "            from splitdata.format.deleted import pack_deleted\n"
        "            segments = tuple(info if info.id not in changed else replace(info, num_deleted=len("
        "changed[info.id]), deleted_hash=pack_deleted(info.id, changed[info.id])[1]) for info in manifest.segments)\n"
        "            early = restamped(replace(manifest, generation=manifest.generation + 1, segments=segments))\n"
        "            with held.opened() as root:\n"
        "                publish(root, early.generation, early.encode(), durable=True)\n"
        "            manifest = early\n"
        "            segments = tuple(_with_list(held, info, changed.get(info.id)) for info in manifest.segments)\n",
        TOOL_KILLS,
    ),
    Bug(
        "an old manifest goes before the segments that only it lists",
        "dataset/manifests/retention.py",
        "        if all([directory.remove_segment(segment_id, part_seconds=0) for segment_id in superseded]):\n",
        "        directory.remove_manifest(generation)\n"
        "        if all([directory.remove_segment(segment_id, part_seconds=0) for segment_id in superseded]):\n",
        RETENTION,
    ),
    Bug(
        "an index is removed before the bins of its segment",
        "dataset/manifests/directory.py",
        "sorted(names, key=lambda name: name == spec.INDEX_NAME)",
        "sorted(names, key=lambda name: name != spec.INDEX_NAME)",
        RETENTION,
    ),
    Bug(
        "a copy is brought up to date in place",
        "storage/replace.py",
        "            folder.link_unnamed(descriptor, scratch)\n            folder.rename_over(scratch, target)\n",
        "            old = folder.open_file(target, writable=True)\n"
        "            files.truncate(old, 0)\n"
        "            for offset, piece in content(descriptor, files.size_of(descriptor)):\n"
        "                files.write_at(old, piece, offset)\n"
        "            files.close(old)\n",
        (*TOOL_KILLS, "tests/dataset/stores/test_copy.py"),
    ),
    # -- parts --------------------------------------------------------------------------------------
    Bug(
        "a part that waits is cleared away as what a killed writer has left",
        "dataset/manifests/directory.py",
        " or _is_young_part(folder, part_seconds):",
        ":",
        PARTS,
    ),
    Bug(
        "a commit of parts does not make them young before it lists them",
        "dataset/parts/part_segment.py",
        "            self._write_header(lock.descriptor, replace(self._header, first_position=first_position), "
        "durable=durable)\n",
        "            self._header = self._header\n",
        PARTS,
    ),
    Bug(
        "a part that is committed is committed again by a late attempt",
        "dataset/parts/commit_parts.py",
        "            info = listed.get(one.part)\n",
        "            info = None\n",
        PARTS,
    ),
    Bug(
        "a part that comes twice in the list counts twice",
        "dataset/parts/commit_parts.py",
        "missing.setdefault(one.part, one)",
        "missing.setdefault(one.segment, one)",
        PARTS,
    ),
    Bug(
        "parts come in the order of their segments",
        "dataset/parts/commit_parts.py",
        "        return list(missing.values())\n",
        "        return sorted(missing.values(), key=lambda one: one.segment)\n",
        PARTS,
    ),
    Bug(
        "small parts are folded, and their names forgotten",
        "dataset/writing/fold.py",
        "info.is_understood and info.part is None",
        "info.is_understood",
        PARTS,
    ),
    Bug(
        "a part of a dataset that was replaced joins the new one",
        "dataset/parts/commit_parts.py",
        "if gone := set(base.replaced) &",
        "if gone := set[str]() &",
        PARTS,
    ),
    Bug(
        "repair adopts parts",
        "dataset/repair/repair_session.py",
        "segment_id not in listed and self._is_part(segment)",
        "segment_id not in listed and not self._is_part",
        PARTS,
    ),
    Bug(
        "merged datasets take the names of their parts along",
        "dataset/merging/linked_segment.py",
        "replace(info, part=None)",
        "info",
        PARTS,
    ),
    Bug(
        "a bin of a part may have any length",
        "dataset/parts/part_segment.py",
        "if size != length or folder.has_odd(name):",
        "if folder.has_odd(name):",
        PARTS,
    ),
    Bug(
        "units of a conversion are committed though some are missing",
        "conversion/shards.py",
        "if number not in units]",
        "if number not in units][:0]",
        ("tests/conversion/test_shards.py",),
    ),
    # -- several programs ---------------------------------------------------------------------------
    Bug(
        "a commit does not look whether it is still there",
        "dataset/writing/commit.py",
        "    newest = directory.newest()\n    if newest.generation == manifest.generation:\n        return True\n"
        "    listed =",
        "    return True\n    listed =",
        RACES,
    ),
    Bug(
        "a writer does not give way to the segment of a rival",
        "dataset/writing/commit.py",
        "if listed is not None and segment.pending.num_records and base.segments[-1].id != segment.id:",
        "if False:",
        ("tests/dataset/writing/test_writer_life.py", *RACES),
    ),
    Bug(
        "what a manifest lists is removed with what killed writers left",
        "dataset/manifests/retention.py",
        "        for generation in held.generations() if old else ():\n",
        "        for generation in ():\n",
        RETENTION,
    ),
    Bug(
        "segments are removed while their writer has the lock",
        "dataset/manifests/directory.py",
        "            if lock is None:\n                return False\n        try:\n            # Asked under the lock",
        "        try:\n            # Asked under the lock",
        RETENTION,
    ),
    # -- checks that never strike -------------------------------------------------------------------
    Bug(
        "the checksum of a manifest is not compared",
        "format/manifest.py",
        '    if rest != b\'{"xxh3":"\' + f"{hash64(line):016x}".encode() + b\'"}\\n\':\n',
        "    if not rest:\n",
        FORGED,
    ),
    Bug(
        "a frame is not compared with its index entry",
        "dataset/segments/record_reader.py",
        "        if header.sequence != sequence or lengths != lengths_word(header.stored_length, header.raw_length):\n",
        "        if header.sequence != sequence:\n",
        FORGED,
    ),
    Bug(
        "the payload of a frame is not held against the length of its bin",
        "dataset/segments/record_reader.py",
        "        end = offset + header.hashed.stop\n        if end > source.size:\n",
        "        end = offset + header.hashed.stop\n        if False:\n",
        FORGED,
    ),
    Bug(
        "a large record is not held against max_record_bytes",
        "dataset/segments/record_reader.py",
        "        if length > self._max_record_bytes and place.header.codec == spec.CODEC_NONE:\n",
        "        if False:\n",
        ("tests/faults/test_claims.py",),
    ),
    Bug(
        "the size that a zstd frame declares is not compared",
        "format/compression.py",
        "    if parameters.content_size != raw_length:\n",
        "    if False:\n",
        ("tests/faults/test_bombs.py",),
    ),
    Bug(
        "blocks of a large record are not proven",
        "dataset/segments/record_reader.py",
        '            if self._verify and hash64(data) != int.from_bytes(table[8 * block : 8 * block + 8], "little"):\n',
        "            if False:\n",
        ("tests/test_format_large_record.py", "tests/dataset/reading/test_same_verdict.py", *FORGED),
    ),
    Bug(
        "the key of a record is not proven",
        "dataset/segments/record_reader.py",
        "        if len(stored) > len(key) and key_hash(key) !=",
        "        if False and key_hash(key) !=",
        ("tests/faults/test_flipped_keys.py", "tests/dataset/keys"),
    ),
    Bug(
        "links are followed when a file is opened",
        "storage/files.py",
        '_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)\n',
        "_NO_LINKS: int = os.O_SYNC\n",
        ("tests/faults/test_links.py", "tests/storage"),
    ),
    Bug(
        "a manifest is evaluated",
        "format/manifest.py",
        "        parsed: object = json.loads(\n",
        "        eval(line.decode(), {'true': True, 'false': False, 'null': None})\n"
        "        parsed: object = json.loads(\n",
        ("tests/faults/test_data_is_no_code.py",),
    ),
    # -- kinds that a tool forgets ------------------------------------------------------------------
    Bug(
        "merge forgets which records were deleted",
        "dataset/merging/linked_segment.py",
        "        if info.num_deleted:\n            names.append(SegmentPaths.deleted_name(info.deleted_hash))\n",
        "",
        MERGING,
    ),
    Bug(
        "merge forgets the schemas of samples",
        "dataset/merging/linked_segment.py",
        "        if original.has(spec.SCHEMAS_NAME):\n            names.append(spec.SCHEMAS_NAME)\n",
        "",
        (*MERGING, "tests/dataset/test_schemas.py"),
    ),
    Bug(
        "append adds a second time what is there",
        "dataset/merging/merge_plan.py",
        "            steps.append(MergeStep(source, info, own_id, own_id in there))\n",
        "            steps.append(MergeStep(source, info, own_id, False))\n",
        (*MERGING, *TOOL_KILLS),
    ),
    Bug(
        "folding forgets keys where records are copied in groups",
        "dataset/segments/frame_copy.py",
        "        keys = [reader.key(sequence) for sequence in some] if reader.num_keys else None\n",
        "        keys = None\n",
        ("tests/dataset/writing/test_fold.py", *DELETION),
    ),
    Bug(
        "compacting forgets which records were deleted",
        "dataset/writing/join.py",
        "    target.list_deleted(np.concatenate(deleted))\n",
        "",
        DELETION,
    ),
    Bug(
        "delete takes one record of a key alone",
        "dataset/deletion/delete.py",
        "            for sequence in reader.find_all(key):\n",
        "            for sequence in [*reader.find_all(key)][:1]:\n",
        DELETION,
    ),
    Bug(
        "rebin, filter and sample bring deleted records back",
        "conversion/derive.py",
        "        if loader.num_deleted:\n            is_live[loader.deleted] = False\n",
        "",
        ("tests/conversion/test_derive.py", "tests/conversion/test_split.py", *TOOL_KILLS),
    ),
    Bug(
        "diff takes segments for equal of which other records were deleted",
        "dataset/comparison/diff.py",
        "    return info.id, info.num_records, info.digest, info.num_deleted, info.deleted_hash, info.num_keys\n",
        "    return info.id, info.num_records, info.digest, info.num_keys\n",
        ("tests/dataset/comparison",),
    ),
    Bug(
        "repair brings records of a replaced dataset back",
        "dataset/writing/commit.py",
        "                    replaced=tuple(one for one in self.directory.segment_ids() if one != own),\n",
        "",
        ("tests/dataset/repair", "tests/dataset/writing"),
    ),
    Bug(
        "verify does not look at the table of block sums",
        "dataset/verify/index_check.py",
        "            if hash64(index.read(start, min(block, end - start))) != expected:\n",
        "            if False:\n",
        (*DELETION, "tests/faults/test_flips.py", "tests/faults/test_verify_looks_everywhere.py"),
    ),
)
