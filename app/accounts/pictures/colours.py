"""Convert the colours of a picture to 8-bit sRGB, in which images without a colour profile are shown."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms, ImageMath
from PIL.ImageCms import Intent
from PIL.ImageFile import ImageFile

# The largest profiles of printers have about 2 MB. A larger one is ignored.
MAX_PROFILE_BYTES = 4 * 1024 * 1024
# By the colour space of a profile (ICC.1:2022, 7.2.6): the mode of the images that it describes.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# By the form of the samples in a PNG file: the factor that converts those of its transparent colour to 8 bits.
_TRANSPARENCY_FACTORS = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}
_GREY_FACTOR = 1 / 257  # from 16 bits to 8


def read_sample_format(image: Image.Image) -> str:
    """Return the form of the samples in the file, such as `RGB;16B`. It is known only until the image is decoded."""
    tiles = image.tile if isinstance(image, ImageFile) else []
    form = tiles[0].args if tiles else None
    return form if isinstance(form, str) else ""


def reduce_to_8_bits(image: Image.Image, sample_format: str) -> Image.Image:
    """Convert 16-bit grey to 8 bits, and the transparent colour of a PNG file to the scale of its pixels.

    Args:
        sample_format: see `read_sample_format`.
    """
    transparent: Any = image.info.get("transparency")
    if image.mode.startswith("I"):
        return _reduce_grey(image, transparent)
    if transparent is not None and (factor := _TRANSPARENCY_FACTORS.get(sample_format)):
        if isinstance(transparent, tuple):
            image.info["transparency"] = tuple(int(sample * factor) for sample in transparent)
        else:
            image.info["transparency"] = int(transparent * factor)
    return image


def _reduce_grey(image: Image.Image, transparent: int | None) -> Image.Image:
    # Pillow's own conversion would make every value above 255 white.
    reduced = image.point(lambda value: value * _GREY_FACTOR + 0.5).convert("L")
    if transparent is not None:
        grey = image.convert("I")
        alpha = ImageMath.lambda_eval(lambda names: (names["grey"] != transparent) * 255, grey=grey).convert("L")
        reduced = Image.merge("LA", [reduced, alpha])
    reduced.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return reduced


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """Convert the colours as the image's profile says. A profile that is broken, huge or does not fit is ignored.

    Args:
        image: of the mode L, LA, RGB, RGBA or CMYK.

    Returns:
        An image of the mode RGB, or RGBA if it has transparency.
    """
    has_alpha = image.mode in {"LA", "RGBA"}
    converted = _apply_profile(image, image.info.get("icc_profile"))
    if converted is None:
        return image.convert("RGBA" if has_alpha else "RGB")
    if has_alpha:
        converted.putalpha(image.getchannel("A"))
    return converted


def _apply_profile(image: Image.Image, profile: object) -> Image.Image | None:
    """Return an RGB image; `None` if the profile cannot be applied."""
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES.get(source.profile.xcolor_space.strip())
        if mode is None or (mode == "CMYK") != (image.mode == "CMYK"):
            return None
        if mode == "L" and image.mode not in {"L", "LA"}:
            return None
        return ImageCms.profileToProfile(
            image.convert(mode), source, _srgb(), renderingIntent=Intent.PERCEPTUAL, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
