"""Dataset: turns a batch from raw values into numbers; TextDataset does it for words.

What comes in and what goes out are dicts of lists, of one length each.

    {"input_text": ["a b", "b"], "label": [0, 1]} ─> {"input_ids": [[1, 2, 0], [2, 0, 0]],
                                                      "attention_mask": [[1, 1, 0], [1, 0, 0]], "label": [0, 1]}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final

from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dataset", "TextDataset"]

_PAD_ID: Final = 0


class Dataset:
    """Encodes batches; `batch_encode` is for a subclass to define.

    It runs where the files are read: in other processes, each with a copy of this object. What it changes in `self`
    stays there.
    """

    def batch_encode(self, batch_data: Any) -> Any:
        """Return a batch in numbers, as a dict of lists; `batch_data` is a dict of lists too."""
        raise NotImplementedError(f"{type(self).__name__} must define batch_encode(batch_data)")


class TextDataset(Dataset):
    """Encodes the words of "input_text", split at white space; each text gets the same length.

    Attributes:
        stoi: The number of each word; empty without a vocabulary.
        itos: The word of each number.
    """

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        max_seq_len: int = 100,
        max_vocab_size: int = 30000,
    ) -> None:
        """Load the vocabulary.

        Args:
            vocab_file: UTF-8, a word a line, what follows a tab is ignored. Its line, from 0, is its number; word 0
                pads, and stands for words that are not in the file. None: the texts are numbers, not words.
            max_seq_len: Numbers of each text: longer ones are cut, shorter ones padded.
            max_vocab_size: Lines of the file that are read.

        Raises:
            ValueError: If a word stands there twice.
            OSError: If it cannot be read.
        """
        self.max_seq_len = checked_count("max_seq_len", max_seq_len, 1)
        self.max_vocab_size = checked_count("max_vocab_size", max_vocab_size, 1)
        self.stoi: dict[str, int] = {}
        self.itos: dict[int, str] = {}
        if vocab_file is not None:
            self.load_vocab(vocab_file)

    def load_vocab(self, vocab_file: str | os.PathLike[str]) -> None:
        """Take the vocabulary from a file; raises as the constructor does."""
        with open(vocab_file, encoding="utf-8") as lines:  # noqa: PTH123  # any path
            words = [line.strip().split("\t")[0] for line in islice(lines, self.max_vocab_size)]
        self.stoi = {word: number for number, word in enumerate(words)}
        self.itos = dict(enumerate(words))
        if len(self.stoi) != len(words):
            twice = next(word for number, word in enumerate(words) if self.stoi[word] != number)
            raise ValueError(f"{os.fspath(vocab_file)} has the word {twice!r} twice: each word has one number")

    def batch_encode(self, batch_data: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return "input_ids", "attention_mask" (1 for a word, 0 for what pads) and "label".

        Args:
            batch_data: "input_text" and "label", as a dict of lists or a list of dicts.

        Raises:
            KeyError: If one of the two is missing.
            ValueError: If there is no vocabulary, and a word is no number.
        """
        if isinstance(batch_data, Mapping):
            texts, labels = batch_data["input_text"], list(batch_data["label"])
        else:
            texts, labels = [one["input_text"] for one in batch_data], [one["label"] for one in batch_data]
        size = self.max_seq_len
        number_of = self.stoi.get
        input_ids, attention_mask = [], []
        for text in texts:
            words = text.split(None, size)[:size]
            ids = list(map(number_of, words, repeat(_PAD_ID)) if self.stoi else map(int, words))
            num_words = len(ids)
            padding = [_PAD_ID] * (size - num_words)
            input_ids.append(ids + padding)
            attention_mask.append([1] * num_words + padding)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "label": labels}
