"""A write session: chunks go into a segment, commits put the segment into the manifest."""
