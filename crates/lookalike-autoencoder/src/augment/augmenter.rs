//! An augmentation applied: pixels are moved by one smooth map, and colours changed after that.
//!
//! The elastic field is that of Simard, Steinkraus and Platt, "Best Practices for Convolutional
//! Neural Networks Applied to Visual Document Analysis", 2003, on a coarse grid.

use lookalike_images::InputShape;

use super::colour::ColourChange;
use super::random::Random;
use super::{Augmentation, MAX_GRID};

/// The smallest scale: an image is never turned inside out.
const MIN_SCALE: f32 = 0.05;

/// Makes a stream of its own from an image's seed, so that crops leave the other draws as they
/// were.
const WINDOWS: u64 = 0x7769_6e64_6f77_7321;
/// The same for turns.
const TURNS: u64 = 0x7175_6172_7465_7273;

/// A [`Augmentation`] made ready for images of one shape: what does not change from image to image.
#[derive(Clone, Debug)]
pub struct Augmenter {
    augmentation: Augmentation,
    shape: InputShape,
    /// Points along a side of the elastic grid; 0 without an elastic field.
    grid: usize,
    /// Weight of each grid column at each pixel column: grid x width.
    column_weights: Vec<f32>,
    /// Weight of each grid row at each pixel row: grid x height.
    row_weights: Vec<f32>,
    /// Horizontal, then vertical displacements in pixels: 2 x grid x grid.
    displacements: Vec<f32>,
    /// The input with one pixel of fill before it and two behind, in both directions.
    padded: Vec<f32>,
    /// Where in `padded` the pixels of the current row come from, horizontally and vertically.
    xs: Vec<f32>,
    ys: Vec<f32>,
}

/// The affine part of one draw: from the output's pixel (x, y) to a place in the padded input.
struct Affine {
    xx: f32,
    xy: f32,
    x0: f32,
    yx: f32,
    yy: f32,
    y0: f32,
}

impl Affine {
    /// The map of an image that is turned by so many quarters, about the middle between the first
    /// pixel and the last, `centre`.
    fn turned(self, quarters: usize, centre: [f32; 2]) -> Self {
        let (sin, cos) = [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0)][quarters];
        let [centre_x, centre_y] = centre;
        // What a turned pixel's place would be without this map.
        let left = centre_x - cos * centre_x + sin * centre_y;
        let top = centre_y - sin * centre_x - cos * centre_y;
        Self {
            xx: self.xx * cos + self.xy * sin,
            xy: self.xy * cos - self.xx * sin,
            x0: self.x0 + self.xx * left + self.xy * top,
            yx: self.yx * cos + self.yy * sin,
            yy: self.yy * cos - self.yx * sin,
            y0: self.y0 + self.yx * left + self.yy * top,
        }
    }

    /// The map that shows a window of an image of `sides` (width and height), stretched to all of
    /// it.
    fn of_window(self, crop: f32, sides: [f32; 2], seed: u64) -> Self {
        let mut random = Random::new(seed ^ WINDOWS);
        let part = 1.0 - crop * random.fraction();
        // From pixel centre to pixel centre: the window's edges are not the centres of its
        // outermost pixels.
        let [left, top] =
            sides.map(|side| (1.0 - part) * side * random.fraction() + (part - 1.0) / 2.0);
        Self {
            xx: self.xx * part,
            xy: self.xy * part,
            x0: self.x0 + self.xx * left + self.xy * top,
            yx: self.yx * part,
            yy: self.yy * part,
            y0: self.y0 + self.yx * left + self.yy * top,
        }
    }
}

impl Augmenter {
    /// Prepares for images of `shape`.
    ///
    /// A range that [`Augmentation::check`] would refuse does no harm: one that is not finite
    /// counts as 0, a grid that is too fine as the finest, and no scale falls under 5 %.
    pub fn new(augmentation: &Augmentation, shape: InputShape) -> Self {
        let finite = |range: f32| if range.is_finite() { range } else { 0.0 };
        let augmentation = Augmentation {
            rotation_degrees: finite(augmentation.rotation_degrees),
            scale: finite(augmentation.scale),
            shear: finite(augmentation.shear),
            shift: finite(augmentation.shift),
            elastic: finite(augmentation.elastic),
            elastic_grid: augmentation.elastic_grid.min(MAX_GRID),
            mirror: augmentation.mirror,
            turn: augmentation.turn,
            crop: finite(augmentation.crop).clamp(0.0, 0.95),
            brightness: finite(augmentation.brightness),
            contrast: finite(augmentation.contrast),
            saturation: finite(augmentation.saturation),
            hue_degrees: finite(augmentation.hue_degrees),
            gamma: finite(augmentation.gamma),
        };
        let grid = match augmentation.elastic {
            0.0 => 0,
            _ => augmentation.elastic_grid,
        };
        let InputShape {
            channels,
            height,
            width,
        } = shape;
        Self {
            grid,
            column_weights: cubic_weights(grid, width),
            row_weights: cubic_weights(grid, height),
            displacements: vec![0.0; 2 * grid * grid],
            padded: vec![0.0; (width + 3) * (height + 3) * channels],
            xs: vec![0.0; width],
            ys: vec![0.0; width],
            augmentation,
            shape,
        }
    }

    /// Changes one image at random: `source` and `out` are height x width x channels, bytes in and
    /// 0 to 1 out.
    ///
    /// The same seed changes it in the same way, whatever was done before.
    ///
    /// # Panics
    ///
    /// When `source` or `out` are not of the shape's length.
    pub fn apply(&mut self, source: &[u8], seed: u64, out: &mut [f32]) {
        assert_eq!(source.len(), self.shape.values(), "source of another shape");
        assert_eq!(out.len(), self.shape.values(), "output of another shape");
        if self.augmentation.keeps_places() {
            for (out, &value) in out.iter_mut().zip(source) {
                *out = f32::from(value) / 255.0;
            }
        } else {
            self.move_places(source, seed, out);
        }
        if !self.augmentation.keeps_colours() {
            let change = ColourChange::draw(&self.augmentation, self.shape.channels, seed);
            change.apply(out, self.shape.channels);
        }
    }

    fn move_places(&mut self, source: &[u8], seed: u64, out: &mut [f32]) {
        self.pad(source);
        let affine = self.draw(seed);
        let stride = self.shape.width * self.shape.channels;
        for (y, out) in out.chunks_exact_mut(stride).enumerate() {
            self.places(&affine, y);
            if self.shape.channels == 1 {
                self.sample::<1>(out);
            } else {
                self.sample::<3>(out);
            }
        }
    }

    /// Draws where pixels come from; always the same draws in the same order, so that setting one
    /// range to zero leaves the others as they were.
    fn draw(&mut self, seed: u64) -> Affine {
        let mut random = Random::new(seed);
        let augmentation = &self.augmentation;
        let (width, height) = (self.shape.width as f32, self.shape.height as f32);
        let mut within = |range: f32| range * random.signed();
        let (sin, cos) = within(augmentation.rotation_degrees).to_radians().sin_cos();
        let scale = (1.0 + within(augmentation.scale)).max(MIN_SCALE);
        let shear = within(augmentation.shear);
        let shift_x = within(augmentation.shift) * width;
        let shift_y = within(augmentation.shift) * height;
        let flip = if within(1.0) < 0.0 && augmentation.mirror {
            -1.0
        } else {
            1.0
        };
        // Half sides, because the displacement is in the coordinates -1 to 1 of the image.
        let (across, along) = self.displacements.split_at_mut(self.grid * self.grid);
        for (x, y) in across.iter_mut().zip(along) {
            *x = within(augmentation.elastic) * width / 2.0;
            *y = within(augmentation.elastic) * height / 2.0;
        }
        // Scale x rotation x shear x mirror, about the centre, in pixels: sides of unlike length
        // keep their angles.
        let (xx, xy) = (scale * cos * flip, scale * (cos * shear - sin));
        let (yx, yy) = (scale * sin * flip, scale * (sin * shear + cos));
        let (centre_x, centre_y) = ((width - 1.0) / 2.0, (height - 1.0) / 2.0);
        // The padding puts the input's pixel (0, 0) at (1, 1).
        let affine = Affine {
            xx,
            xy,
            x0: centre_x - xx * centre_x - xy * centre_y + shift_x + 1.0,
            yx,
            yy,
            y0: centre_y - yx * centre_x - yy * centre_y + shift_y + 1.0,
        };
        let affine = match augmentation.turn {
            true => {
                let drawn = (4.0 * Random::new(seed ^ TURNS).fraction()) as usize;
                let quarters = match self.shape.width == self.shape.height {
                    true => drawn,
                    false => drawn / 2 * 2,
                };
                affine.turned(quarters, [centre_x, centre_y])
            }
            false => affine,
        };
        match augmentation.crop > 0.0 {
            true => affine.of_window(augmentation.crop, [width, height], seed),
            false => affine,
        }
    }

    /// Fills `xs` and `ys` with the places of row `y`, not yet held inside the padding.
    fn places(&mut self, affine: &Affine, y: usize) {
        let row = y as f32;
        let (x0, y0) = (affine.x0 + affine.xy * row, affine.y0 + affine.yy * row);
        for (x, (to_x, to_y)) in self.xs.iter_mut().zip(&mut self.ys).enumerate() {
            let column = x as f32;
            *to_x = x0 + affine.xx * column;
            *to_y = y0 + affine.yx * column;
        }
        // The cubic interpolation is separable: down the columns of the grid once for the row, then
        // across for all of its pixels.
        let (grid, width) = (self.grid, self.shape.width);
        let (across, along) = self.displacements.split_at(grid * grid);
        for column in 0..grid {
            let (mut dx, mut dy) = (0.0, 0.0);
            for row in 0..grid {
                let weight = self.row_weights[row * self.shape.height + y];
                dx += weight * across[row * grid + column];
                dy += weight * along[row * grid + column];
            }
            let weights = &self.column_weights[column * width..][..width];
            for ((to_x, to_y), weight) in self.xs.iter_mut().zip(&mut self.ys).zip(weights) {
                *to_x += weight * dx;
                *to_y += weight * dy;
            }
        }
    }

    /// Samples the padded input at `xs` and `ys`.
    fn sample<const CHANNELS: usize>(&self, out: &mut [f32]) {
        let stride = (self.shape.width + 3) * CHANNELS;
        // A place further out than the first pixel of fill is as good as that pixel; held in this
        // range, all four neighbours exist.
        let (last_x, last_y) = (
            (self.shape.width + 1) as f32,
            (self.shape.height + 1) as f32,
        );
        for ((out, x), y) in out.chunks_exact_mut(CHANNELS).zip(&self.xs).zip(&self.ys) {
            let (x, y) = (x.max(0.0).min(last_x), y.max(0.0).min(last_y));
            let (left, top) = (x as i32, y as i32);
            let (right_part, lower_part) = (x - left as f32, y - top as f32);
            let upper = &self.padded[top as usize * stride + left as usize * CHANNELS..]
                [..stride + 2 * CHANNELS];
            let lower = &upper[stride..];
            for (channel, out) in out.iter_mut().enumerate() {
                let above = mix(upper[channel], upper[channel + CHANNELS], right_part);
                let below = mix(lower[channel], lower[channel + CHANNELS], right_part);
                // Rounding may pass 1 by a hair.
                *out = mix(above, below, lower_part).clamp(0.0, 1.0);
            }
        }
    }

    /// Lays the input into its padding.
    fn pad(&mut self, source: &[u8]) {
        let InputShape {
            channels,
            height,
            width,
        } = self.shape;
        let fill = border_mean(source, self.shape);
        let stride = (width + 3) * channels;
        let paint = |pixels: &mut [f32]| {
            for pixel in pixels.chunks_exact_mut(channels) {
                pixel.copy_from_slice(&fill[..channels]);
            }
        };
        let (above, rest) = self.padded.split_at_mut(stride);
        let (inside, below) = rest.split_at_mut(height * stride);
        paint(above);
        paint(below);
        for (row, source) in inside
            .chunks_exact_mut(stride)
            .zip(source.chunks_exact(width * channels))
        {
            let (before, rest) = row.split_at_mut(channels);
            let (middle, behind) = rest.split_at_mut(width * channels);
            paint(before);
            paint(behind);
            for (to, &value) in middle.iter_mut().zip(source) {
                *to = f32::from(value) / 255.0;
            }
        }
    }
}

fn mix(a: f32, b: f32, part: f32) -> f32 {
    a + (b - a) * part
}

/// The mean colour of the outermost pixels, 0 to 1: what is most likely to go on beyond them.
fn border_mean(source: &[u8], shape: InputShape) -> [f32; 3] {
    let InputShape {
        channels,
        height,
        width,
    } = shape;
    let stride = width * channels;
    let mut sums = [0u32; 3];
    let mut add = |pixels: &[u8]| {
        for pixel in pixels.chunks_exact(channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(value);
            }
        }
    };
    add(&source[..stride]);
    add(&source[(height - 1) * stride..]);
    for row in source.chunks_exact(stride) {
        add(&row[..channels]);
        add(&row[stride - channels..]);
    }
    let pixels = (2 * (width + height)) as f32;
    sums.map(|sum| sum as f32 / pixels / 255.0)
}

/// The weights, points x length, with which the values of `points` even points along a side make
/// that of each of its `length` pixels: cubic convolution (Keys 1981) with a = -0.75 and the end
/// points repeated, as "bicubic" is in PyTorch.
fn cubic_weights(points: usize, length: usize) -> Vec<f32> {
    const A: f32 = -0.75;
    let near = |t: f32| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let mut weights = vec![0.0; points * length];
    if points == 0 {
        return weights;
    }
    for pixel in 0..length {
        let place = (pixel as f32 + 0.5) * points as f32 / length as f32 - 0.5;
        let before = place.floor();
        let t = place - before;
        for (tap, weight) in [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
            .into_iter()
            .enumerate()
        {
            let point = (before as isize + tap as isize - 1).clamp(0, points as isize - 1);
            weights[point as usize * length + pixel] += weight;
        }
    }
    weights
}

#[cfg(test)]
mod tests;
