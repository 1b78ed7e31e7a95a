"""A folder of pictures in a folder for each class: samples with the bytes of the picture, its label and its path.

No picture is decoded. Labels count the names of the classes in the order of their bytes, as torchvision does.

    root/cat/1.jpg  root/dog/a/2.png  ──>  {"image": bytes, "label": 0, "path": "cat/1.jpg"}, {..., "label": 1, ...}
                                           metadata: "class_names": ["cat", "dog"]
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata.conversion.sources.files.file_folder import FolderSource
from splitdata.conversion.sources.sample_source import SampleSource
from splitdata.conversion.sources.source import storable
from splitdata.errors import RecordTooLargeError, SourceError

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Sequence

    from splitdata.conversion.sources.files.folder_walk import FoundFile
    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["ImageFolderSource", "check_classes"]

_SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".jxl"}
    | {".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
_MAX_IMAGE_BYTES: Final = 1 << 30


class ImageFolderSource(SampleSource, FolderSource):
    """The pictures of a folder as samples; other files, by their names, are left out and counted."""

    kind = "imagefolder"

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their labels; walks over all files once.

        Raises:
            SourceError: If a picture lies in no folder of a class, or there is none at all.
        """
        # The walk gives paths in the order of their bytes, in which "a-b/" may lie between "a" and "a/".
        names = dict.fromkeys(storable(self._class_of(found.relative)) for found in self._walk(Counter()))
        if not names:
            raise SourceError(
                f"{self.shown} holds no folder of a class with pictures in it, as in {self.shown}/cat/1.jpg; "
                "kind='folder' takes each file as a record",
                path=self.path,
            )
        return sorted(names, key=str.encode)

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec of the samples, and the names of the classes."""
        return {"record_codec": "sample", "class_names": self.class_names}

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str, bytes], None, None]:
        """Yield the key of each picture behind a position, and its sample; raises as those of files do.

        Raises:
            RecordTooLargeError: If a picture has more than 1 GiB.
        """
        labels = {name: label for label, name in enumerate(self.class_names)}
        with closing(super().keyed_records(position)) as files:
            for key, record in files:
                path = key.removeprefix(self.prefix)
                if not isinstance(record, bytes):
                    if record.size > _MAX_IMAGE_BYTES:
                        raise RecordTooLargeError(f"{self.shown}/{path} has {record.size} bytes: 1 GiB is the limit")
                    record = record.read_whole()
                label = labels.get(storable(self._class_of(path)))
                if label is None:
                    raise SourceError(f"{self.shown}/{path} was added while its folder was read", path=self.path)
                yield key, self._encoded({"image": record, "label": label, "path": storable(path)})

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the folder from a changed one."""
        return super().state(with_times=with_times) | {"classes": len(self.class_names)}

    def _found(self) -> Iterator[tuple[str, os.stat_result]]:
        # Parts take the labels along.
        _ = self.class_names
        return super()._found()

    def _walk(self, skipped: Counter[str]) -> Iterator[FoundFile]:
        for found in super()._walk(skipped):
            if Path(found.relative).suffix.lower() in _SUFFIXES:
                yield found
            else:
                skipped["file without the name of a picture"] += 1

    def _class_of(self, relative: str) -> str:
        name, slash, _ = relative.partition("/")
        if not slash:
            raise SourceError(
                f"{self.shown}/{relative} lies in no folder of a class, as in {self.shown}/cat/{relative}: "
                "move it there, or away",
                path=self.path,
            )
        return name


def check_classes(folders: Sequence[ImageFolderSource]) -> None:
    """Raise SourceError unless all folders have the same classes, and so the same labels."""
    first = folders[0]
    for other in folders[1:]:
        different = set(first.class_names) ^ set(other.class_names)
        if different:
            raise SourceError(
                f"{first.shown} and {other.shown} have different classes, such as {min(different)}, so their labels "
                "would not mean the same: convert each into a dataset of its own",
                path=other.path,
            )
