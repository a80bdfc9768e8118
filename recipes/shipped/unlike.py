"""Pictures that are unlike the drawn world, as photographs are.

Leaves of all sizes lie over one another, shaded, textured with noise of a natural spectrum, blurred, compressed.
"""

from __future__ import annotations

import io
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 192
Pixels = NDArray[np.float64]


def draw(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A picture of the shape of `size`, its longer side SIDE pixels."""
    choose, rng = random.Random(f"unlike/{seed}"), np.random.default_rng([7, seed])
    palette = rng.uniform(0, 255, 3)
    picture = _colour(rng, palette) + _grain(rng, rng.uniform(0.8, 1.8)) * rng.uniform(5, 60)
    picture = np.clip(picture, 0, 255)
    if choose.random() < 0.85:
        least, count = rng.uniform(3, 12), int(10 ** rng.uniform(0.5, 2.6))
        sides = np.clip(least * rng.pareto(rng.uniform(1.0, 2.5), count) + least, 2, 140)
        for side in np.sort(sides)[::-1] if choose.random() < 0.5 else sides:
            picture = _leaf(choose, rng, picture, float(side), palette)
    down, right = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    light = 1 + rng.uniform(-0.4, 0.4) * right + rng.uniform(-0.4, 0.4) * down
    picture = picture * light[..., None] + _noise(rng, 1.5, 1) * rng.uniform(0, 15)
    return _taken(choose, Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), size)


def _noise(rng: np.random.Generator, slope: float, channels: int) -> Pixels:
    """Noise whose amplitude falls with frequency to the power of `slope`, of deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1 / SIDE
    shape = (channels, *frequency.shape)
    waves = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / frequency**slope
    noise = np.fft.irfft2(waves, s=(SIDE, SIDE)).transpose(1, 2, 0)
    noise = noise - noise.mean((0, 1))
    return np.asarray(noise / noise.std((0, 1)))


def _grain(rng: np.random.Generator, slope: float) -> Pixels:
    """Noise that is mostly the same in all three channels."""
    return _noise(rng, slope, 1) * rng.uniform(0.6, 1) + _noise(rng, slope, 3) * rng.uniform(0.05, 0.5)


def _colour(rng: np.random.Generator, palette: Pixels) -> Pixels:
    """A mostly dull colour near the palette's."""
    colour = rng.normal(palette, rng.uniform(20, 70), 3) + rng.normal(0, 40)
    grey = colour.mean()
    return np.clip(grey + (colour - grey) * rng.beta(1.5, 3) * 1.5, 0, 255)


def _leaf(choose: random.Random, rng: np.random.Generator, picture: Pixels, side: float, palette: Pixels) -> Pixels:
    """The picture with a leaf on it: a polygon or an ellipse, sharp or soft, plain, textured or shaded."""
    mask = Image.new("L", (SIDE, SIDE))
    x, y = rng.uniform(-20, SIDE + 20, 2)
    corners, flat, turn = choose.randint(3, 12), rng.uniform(0.3, 1), rng.uniform(0, np.pi)
    if corners < 6:
        ImageDraw.Draw(mask).ellipse([x - side, y - side * flat, x + side, y + side * flat], fill=255)
    else:
        angles, radii = np.sort(rng.uniform(0, 2 * np.pi, corners)), side * rng.uniform(0.4, 1, corners)
        across, along = radii * np.cos(angles), radii * np.sin(angles) * flat
        xs = x + across * np.cos(turn) - along * np.sin(turn)
        ys = y + across * np.sin(turn) + along * np.cos(turn)
        ImageDraw.Draw(mask).polygon([*zip(xs.tolist(), ys.tolist(), strict=True)], fill=255)
    if choose.random() < 0.7:
        mask = mask.filter(ImageFilter.GaussianBlur(choose.choice((0.6, 1, 1, 2, 4))))
    inside = np.asarray(mask)[..., None] / 255
    paint = np.broadcast_to(_colour(rng, palette), picture.shape)
    if side > 8 and choose.random() < 0.6:
        paint = paint + _grain(rng, rng.uniform(0.7, 1.8)) * rng.uniform(2, 35)
    if choose.random() < 0.6:
        (dx, dy), (down, right) = rng.normal(0, 1, 2), np.mgrid[:SIDE, :SIDE]
        paint = paint + (((right - x) * dx + (down - y) * dy) / max(side, 8) * rng.uniform(5, 40))[..., None]
    return np.asarray(picture * (1 - inside) + np.clip(paint, 0, 255) * inside)


def _taken(choose: random.Random, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """As a camera gives it: a little blurred, of some shape, compressed."""
    if choose.random() < 0.6:
        picture = picture.filter(ImageFilter.GaussianBlur(choose.uniform(0.2, 1.4)))
    longest = max(size)
    picture = picture.crop((0, 0, round(SIDE * size[0] / longest), round(SIDE * size[1] / longest)))
    if choose.random() < 0.6:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=choose.randint(40, 95))
        picture = Image.open(file).convert("RGB")
    return picture
