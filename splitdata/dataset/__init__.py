"""One dataset directory: writing, reading, walking, verifying and repairing it.

docs/dataset.md follows a record through these folders.

    writer.py, reader.py, sample_dataset.py, describe.py     the faces
    manifests/    which manifest is current, and what may be removed
    keys/         keys of one segment: collected, sorted, looked up
    segments/     one segment: its files and frames, written and read
    legacy/       directories of splitdataloader 0.0.1, read-only
    writing/      a write session and its commits
    reading/      a snapshot, and the ways through it
    repair/       what damage has left, put together again
    cache/        the folder of a loader's cache
    verify/       every byte against its checksum
    deletion/     records marked as deleted, and their bytes erased
"""
