"""Fields of samples, pictures and sounds: as Pillow and soundfile decode them, through loaders and caches."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, Fields, SplitWriter, decode_audio, decode_image
from splitdata.loader.samples.draws import transform_may_draw


def test_fields_are_a_tuple_in_the_order_asked_and_one_field_its_value() -> None:
    sample = {"image": b"...", "label": 3, "path": "a/b.jpg"}

    assert Fields("label", "image")(sample) == (3, b"...")
    assert Fields("label")(sample) == 3
    assert Fields("label", "path", transform=lambda sample: sample | {"label": 4})(sample) == (4, "a/b.jpg")


def test_missing_field_is_an_error_with_those_that_are_there() -> None:
    with pytest.raises(KeyError, match=r"the sample has no field 'lable': it has 'image', 'label'"):
        Fields("lable")({"image": b"", "label": 1})
    with pytest.raises(TypeError, match="asked of a sample that is no dict but bytes"):
        Fields("label")(b"record")
    with pytest.raises(ValueError, match="needs the names of some fields"):
        Fields()


def test_fields_make_batches_of_a_dataset_of_samples(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples({"x": np.full(3, n, np.float32), "label": n, "path": str(n)} for n in range(4))

    (batch,) = DistributedLoader(tmp_path / "d", batch_size=4, transform=Fields("x", "label"))

    assert batch[0].shape == (4, 3)
    assert batch[1].tolist() == [0, 1, 2, 3]


class TestPictures:
    @pytest.fixture(autouse=True)
    def needs_pillow(self) -> None:
        self.images: Any = pytest.importorskip("PIL.Image")

    def encoded(self, array: np.ndarray[Any, Any], kind: str = "PNG") -> bytes:
        file = io.BytesIO()
        self.images.fromarray(array).save(file, kind)
        return file.getvalue()

    def test_record_of_bytes_becomes_the_picture_to_the_last_bit(self) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)

        decoded = decode_image()(self.encoded(picture))

        np.testing.assert_array_equal(decoded, picture)
        assert decoded.flags.writeable

    def test_field_of_a_sample_is_replaced_and_the_others_stay(self) -> None:
        picture = np.full((4, 4), 9, np.uint8)
        content = self.encoded(picture)

        for held in (content, {"bytes": content, "path": None}, np.frombuffer(content, np.uint8)):
            decoded = decode_image(mode="L", field="png")({"png": held, "label": 1})

            np.testing.assert_array_equal(decoded["png"], picture)
            assert decoded["label"] == 1

    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    @pytest.mark.parametrize("shape", [(90, 40), (40, 90), (300, 1000), (3, 5)])
    def test_size_scales_the_shorter_side_and_cuts_the_rest_at_both_ends(
        self, shape: tuple[int, int], kind: str
    ) -> None:
        # Black, with a grey frame that is cut off at both ends of the longer side.
        picture = np.full((*shape, 3), 128, np.uint8)
        spare = (max(shape) - min(shape)) // 2
        inner = np.s_[spare:-spare] if shape[0] > shape[1] else np.s_[:, spare:-spare]
        picture[inner] = 0

        decoded = decode_image(size=20)(self.encoded(picture, kind))

        assert decoded.shape == (20, 20, 3)
        assert decoded[6:-6, 6:-6].max() < 20

    def test_size_of_two_numbers_is_height_and_width(self) -> None:
        assert decode_image(size=(8, 12))(self.encoded(np.zeros((50, 50, 3), np.uint8))).shape == (8, 12, 3)

    def test_what_is_no_picture_is_an_error(self) -> None:
        with pytest.raises(OSError, match="cannot identify image file"):
            decode_image()(b"no picture")
        with pytest.raises(TypeError, match="the field 'image' holds int, and no bytes"):
            decode_image()({"image": 3})
        with pytest.raises(ValueError, match="size must be"):
            decode_image(size=0)

    def test_decoder_pickles_and_a_cache_tells_it_by_its_arguments(self, tmp_path: Path) -> None:
        with SplitWriter(tmp_path / "d") as writer:
            writer.write_samples({"image": self.encoded(np.full((6, 6, 3), n, np.uint8)), "label": n} for n in range(4))

        def batch(size: int) -> Any:
            transform = pickle.loads(pickle.dumps(Fields("image", "label", transform=decode_image(size=size))))
            with DistributedLoader(
                tmp_path / "d", batch_size=4, transform=transform, cache=Cache(tmp_path / "cache")
            ) as loader:
                return next(iter(loader))

        assert [batch(size)[0].shape for size in (3, 3, 5)] == [(4, 3, 3, 3), (4, 3, 3, 3), (4, 5, 5, 3)]


class TestSounds:
    @pytest.fixture(autouse=True)
    def needs_soundfile(self) -> None:
        self.soundfile: Any = pytest.importorskip("soundfile")

    def encoded(self, sound: np.ndarray[Any, Any], rate: int = 8000) -> bytes:
        file = io.BytesIO()
        self.soundfile.write(file, sound, rate, format="WAV", subtype="FLOAT")
        return file.getvalue()

    def test_sound_comes_as_the_mean_of_its_channels_or_as_all_of_them(self) -> None:
        sound = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)

        np.testing.assert_allclose(decode_audio()(self.encoded(sound)), sound.mean(axis=1), atol=1e-6)
        np.testing.assert_array_equal(decode_audio(mono=False)(self.encoded(sound)), sound)

    @pytest.mark.parametrize("frames", [20, 50, 70])
    def test_frames_cut_longer_sounds_and_put_zeros_behind_shorter_ones(self, frames: int) -> None:
        sound = np.ones(50, np.float32)

        decoded = decode_audio(frames=frames)({"audio": self.encoded(sound), "text": "one"})

        assert decoded["audio"].shape == (frames,)
        assert decoded["audio"].sum() == min(frames, 50)
        assert decoded["text"] == "one"

    def test_other_sample_rate_than_asked_for_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="has 8000 frames a second, and sample_rate=16000 is asked for"):
            decode_audio(sample_rate=16000)(self.encoded(np.zeros(5, np.float32)))


def test_global_generators_are_set_only_for_what_the_user_adds() -> None:
    def drawing(sample: Any) -> Any:
        return {"x": np.random.random()}  # what is tried

    def plain(sample: Any) -> Any:
        return {"x": sample["x"] * 2}

    dataset = range(3)
    assert not any(
        transform_may_draw(transform, dataset)
        for transform in (decode_image(), decode_audio(), Fields("x"), Fields("x", transform=plain))
    )
    assert transform_may_draw(Fields("x", transform=drawing), dataset)


@pytest.mark.parametrize(
    ("transform", "extra"), [(decode_image(), "image"), (decode_audio(), "audio")], ids=["image", "audio"]
)
def test_missing_package_is_named_with_its_extra(transform: Any, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIL", "soundfile"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'splitdata\[{extra}\]'"):
        transform(b"")
