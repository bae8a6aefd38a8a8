//! The distortions of the augmented autoencoder.
//!
//! The encoder sees a distorted view, the decoder must give back the undistorted image: so the code keeps
//! what the image shows and drops how it stands (Sundermeyer et al., "Implicit 3D Orientation Learning for
//! 6D Object Detection from RGB Images", 2018; the smooth elastic field is that of Simard, Steinkraus and
//! Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis", 2003, on
//! a coarse grid).

use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::fit::InputShape;
use crate::random::Random;

/// The finest grid of elastic displacements.
const FINEST_GRID: usize = 32;

/// The smallest scale: an image is never turned inside out.
const MIN_SCALE: f32 = 0.05;

/// Random changes of the input that should not change the code.
///
/// Every change is drawn evenly from minus to plus its range, all are composed into one map from the
/// output's pixels to places in the input, and the input is sampled there once, linearly. What lies
/// outside of the input has the mean colour of its border. Changes of colour come after; they are off unless
/// set, and are drawn on their own, so that they leave the others as they were.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Distortion {
    /// Rotation, in degrees to either side.
    pub rotation_degrees: f32,
    /// Scale: 0.15 is 85 % to 115 %.
    pub scale: f32,
    /// Shear: columns shifted per row.
    pub shear: f32,
    /// Shift, as a fraction of the side, in each direction.
    pub shift: f32,
    /// Elastic displacement of the grid's points, as a fraction of half the side, in each direction.
    /// Between the points it is interpolated by cubics, which may overshoot by up to 0.9 times.
    pub elastic: f32,
    /// Points along each side of the elastic grid, 1 to 32.
    pub elastic_grid: usize,
    /// Whether every second image is mirrored left to right.
    pub mirror: bool,
    /// Crop: 0.2 keeps a window of 80 % to 100 % of each side, anywhere in the image. It is drawn on its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crop: f32,
    /// Brightness: 0.2 multiplies every value by 0.8 to 1.2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub brightness: f32,
    /// Contrast: 0.2 draws values towards the mean of the image's luma, or away from it, by up to a fifth.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub contrast: f32,
    /// Saturation: 0.2 draws colours towards the pixel's luma, or away from it, by up to a fifth. Grey images have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub saturation: f32,
    /// Hue: turned by up to so many degrees about the grey axis. Grey images have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hue_degrees: f32,
    /// Gamma: 0.2 raises values to a power of 1 / 1.2 to 1.2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gamma: f32,
}

/// Whether a range that was added later is unused; then files read as they did before it.
fn is_zero(range: &f32) -> bool {
    *range == 0.0
}

impl Distortion {
    /// A multiple of the range that suits handwriting; 0 leaves every image as it is.
    ///
    /// At 1: rotation 17°, scale 15 %, shear 0.2, shift 10 %, elastic 0.2 on a 4 x 4 grid, no mirror.
    pub fn strength(strength: f32) -> Self {
        Self {
            rotation_degrees: 17.0 * strength,
            scale: 0.15 * strength,
            shear: 0.2 * strength,
            shift: 0.10 * strength,
            elastic: 0.2 * strength,
            elastic_grid: 4,
            mirror: false,
            crop: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue_degrees: 0.0,
            gamma: 0.0,
        }
    }

    /// The same, with changes of colour that suit photographs, times `strength`.
    ///
    /// At 1: brightness, contrast and saturation 20 %, hue 6°, gamma 0.15. Camera and light change no more from
    /// one picture of a thing to the next; what is wider begins to make other things of it.
    pub fn with_colour(self, strength: f32) -> Self {
        Self {
            brightness: 0.2 * strength,
            contrast: 0.2 * strength,
            saturation: 0.2 * strength,
            hue_degrees: 6.0 * strength,
            gamma: 0.15 * strength,
            ..self
        }
    }

    /// The same, with crops of up to `crop` of each side.
    pub fn with_crop(self, crop: f32) -> Self {
        Self { crop, ..self }
    }

    /// Whether it leaves every image as it is.
    pub fn is_identity(&self) -> bool {
        self.keeps_places() && self.keeps_colours()
    }

    fn keeps_places(&self) -> bool {
        let ranges = [
            self.rotation_degrees,
            self.scale,
            self.shear,
            self.shift,
            self.elastic,
            self.crop,
        ];
        !self.mirror && ranges.iter().all(|&range| range == 0.0)
    }

    fn keeps_colours(&self) -> bool {
        let ranges = [
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue_degrees,
            self.gamma,
        ];
        ranges.iter().all(|&range| range == 0.0)
    }

    /// Checks that every range makes sense.
    ///
    /// # Errors
    ///
    /// [`ImageError::Setting`] for a range that is negative, not finite, or too wide for an image to be
    /// left, and for a grid without points or finer than 32.
    pub fn check(&self) -> Result<(), ImageError> {
        let ranges = [
            (
                "rotation_degrees",
                self.rotation_degrees,
                180.0,
                "0 to 180 degrees",
            ),
            ("scale", self.scale, 0.9, "0 to 0.9"),
            ("shear", self.shear, 10.0, "0 to 10"),
            ("shift", self.shift, 1.0, "0 to 1"),
            ("elastic", self.elastic, 2.0, "0 to 2"),
            ("crop", self.crop, 0.9, "0 to 0.9"),
            ("brightness", self.brightness, 1.0, "0 to 1"),
            ("contrast", self.contrast, 1.0, "0 to 1"),
            ("saturation", self.saturation, 1.0, "0 to 1"),
            ("hue_degrees", self.hue_degrees, 180.0, "0 to 180 degrees"),
            ("gamma", self.gamma, 2.0, "0 to 2"),
        ];
        for (setting, found, most, expected) in ranges {
            if !(0.0..=most).contains(&found) {
                return Err(ImageError::Setting {
                    setting,
                    expected,
                    found,
                });
            }
        }
        if !(1..=FINEST_GRID).contains(&self.elastic_grid) {
            return Err(ImageError::Setting {
                setting: "elastic_grid",
                expected: "1 to 32 points",
                found: self.elastic_grid as f32,
            });
        }
        Ok(())
    }

    /// Distorts one image; the same seed distorts in the same way.
    ///
    /// For many images make a [`Distorter`] once.
    ///
    /// # Panics
    ///
    /// As [`Distorter::apply`].
    pub fn apply(&self, source: &[u8], shape: InputShape, seed: u64, out: &mut [f32]) {
        Distorter::new(self, shape).apply(source, seed, out);
    }
}

/// A [`Distortion`] made ready for images of one shape: what does not change from image to image.
#[derive(Clone, Debug)]
pub struct Distorter {
    distortion: Distortion,
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
    /// The map that shows a window of an image of `sides` (width and height), stretched to all of it.
    fn of_window(self, crop: f32, sides: [f32; 2], seed: u64) -> Self {
        let mut random = Random::new(seed ^ WINDOWS);
        let part = 1.0 - crop * random.fraction();
        // From pixel centre to pixel centre: the window's edges are not the centres of its outermost pixels.
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

/// One draw of the changes of colour.
struct ColourChange {
    brightness: f32,
    contrast: f32,
    /// Red, green and blue of the new pixel, each from those of the old: saturation and hue.
    mixed: [[f32; 3]; 3],
    power: f32,
}

/// Makes another stream of a seed: the draws of places stay what they were before there were colours.
const COLOURS: u64 = 0x6c6f_6f6b_616c_696b;
/// The same for windows.
const WINDOWS: u64 = 0x7769_6e64_6f77_7321;

/// The luma of Rec. 709.
const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];

impl ColourChange {
    /// Draws one; always the same draws in the same order.
    fn draw(distortion: &Distortion, channels: usize, seed: u64) -> Self {
        let mut random = Random::new(seed ^ COLOURS);
        let mut within = |range: f32| range * random.signed();
        let brightness = (1.0 + within(distortion.brightness)).max(0.0);
        let contrast = (1.0 + within(distortion.contrast)).max(0.0);
        let saturation = (1.0 + within(distortion.saturation)).max(0.0);
        let (sin, cos) = within(distortion.hue_degrees).to_radians().sin_cos();
        // Evenly up and down in powers: 1.2 as often as 1 / 1.2.
        let gamma = random.signed();
        let power = (1.0 + distortion.gamma.max(0.0)).powf(gamma);
        // A turn about the axis of greys (Rodrigues), which leaves grey as it is.
        let third = (1.0 - cos) / 3.0;
        let side = sin / 3f32.sqrt();
        let turn = |row: usize, column: usize| match (column + 3 - row) % 3 {
            0 => cos + third,
            1 => third - side,
            _ => third + side,
        };
        let mut mixed = [[0.0; 3]; 3];
        for (row, mixed) in mixed.iter_mut().enumerate() {
            for (column, mixed) in mixed.iter_mut().enumerate() {
                // The turned pixel, drawn towards the luma of the pixel as it was.
                *mixed = saturation * turn(row, column) + (1.0 - saturation) * LUMA[column];
            }
        }
        if channels < 3 {
            mixed = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        }
        Self {
            brightness,
            contrast,
            mixed,
            power,
        }
    }

    /// Changes values of 0 to 1, in pixels of 1 or 3 channels.
    fn apply(&self, values: &mut [f32], channels: usize) {
        let luma = |pixel: &[f32]| match *pixel {
            [r, g, b] => r * LUMA[0] + g * LUMA[1] + b * LUMA[2],
            _ => pixel[0],
        };
        let pixels = values.len() / channels;
        let sum: f64 = values
            .chunks_exact(channels)
            .map(|pixel| f64::from(luma(pixel)))
            .sum();
        let mean = (sum / pixels as f64) as f32;
        // Brightness, then contrast about the brighter mean.
        let factor = self.brightness * self.contrast;
        let offset = self.brightness * mean * (1.0 - self.contrast);
        for pixel in values.chunks_exact_mut(channels) {
            if let [r, g, b] = *pixel {
                for (value, row) in pixel.iter_mut().zip(&self.mixed) {
                    *value = row[0] * r + row[1] * g + row[2] * b;
                }
            }
            for value in pixel {
                let moved = (*value * factor + offset).clamp(0.0, 1.0);
                *value = if self.power == 1.0 {
                    moved
                } else {
                    moved.powf(self.power)
                };
            }
        }
    }
}

impl Distorter {
    /// Prepares for images of `shape`.
    ///
    /// A range that [`Distortion::check`] would refuse does no harm: one that is not finite counts as 0,
    /// a grid that is too fine as the finest, and no scale falls under 5 %.
    pub fn new(distortion: &Distortion, shape: InputShape) -> Self {
        let finite = |range: f32| if range.is_finite() { range } else { 0.0 };
        let distortion = Distortion {
            rotation_degrees: finite(distortion.rotation_degrees),
            scale: finite(distortion.scale),
            shear: finite(distortion.shear),
            shift: finite(distortion.shift),
            elastic: finite(distortion.elastic),
            elastic_grid: distortion.elastic_grid.min(FINEST_GRID),
            mirror: distortion.mirror,
            crop: finite(distortion.crop).clamp(0.0, 0.95),
            brightness: finite(distortion.brightness),
            contrast: finite(distortion.contrast),
            saturation: finite(distortion.saturation),
            hue_degrees: finite(distortion.hue_degrees),
            gamma: finite(distortion.gamma),
        };
        let grid = match distortion.elastic {
            0.0 => 0,
            _ => distortion.elastic_grid,
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
            distortion,
            shape,
        }
    }

    /// Distorts one image: `source` and `out` are height x width x channels, bytes in and 0 to 1 out.
    ///
    /// The same seed distorts in the same way, whatever was distorted before.
    ///
    /// # Panics
    ///
    /// When `source` or `out` are not of the shape's length.
    pub fn apply(&mut self, source: &[u8], seed: u64, out: &mut [f32]) {
        assert_eq!(source.len(), self.shape.values(), "source of another shape");
        assert_eq!(out.len(), self.shape.values(), "output of another shape");
        if self.distortion.keeps_places() {
            for (out, &value) in out.iter_mut().zip(source) {
                *out = f32::from(value) / 255.0;
            }
        } else {
            self.move_places(source, seed, out);
        }
        if !self.distortion.keeps_colours() {
            let change = ColourChange::draw(&self.distortion, self.shape.channels, seed);
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

    /// Draws one distortion; always the same draws in the same order, so that setting one range to zero
    /// leaves the others as they were.
    fn draw(&mut self, seed: u64) -> Affine {
        let mut random = Random::new(seed);
        let distortion = &self.distortion;
        let (width, height) = (self.shape.width as f32, self.shape.height as f32);
        let mut within = |range: f32| range * random.signed();
        let (sin, cos) = within(distortion.rotation_degrees).to_radians().sin_cos();
        let scale = (1.0 + within(distortion.scale)).max(MIN_SCALE);
        let shear = within(distortion.shear);
        let shift_x = within(distortion.shift) * width;
        let shift_y = within(distortion.shift) * height;
        let flip = if within(1.0) < 0.0 && distortion.mirror {
            -1.0
        } else {
            1.0
        };
        // Half sides, because the displacement is in the coordinates -1 to 1 of the image.
        let (across, along) = self.displacements.split_at_mut(self.grid * self.grid);
        for (x, y) in across.iter_mut().zip(along) {
            *x = within(distortion.elastic) * width / 2.0;
            *y = within(distortion.elastic) * height / 2.0;
        }
        // Scale x rotation x shear x mirror, about the centre, in pixels: sides of unlike length keep
        // their angles.
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
        match distortion.crop > 0.0 {
            true => affine.of_window(distortion.crop, [width, height], seed),
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
        // A place further out than the first pixel of fill is as good as that pixel; held in this range,
        // all four neighbours exist.
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

/// The weights, points x length, with which the values of `points` even points along a side make that of
/// each of its `length` pixels: cubic convolution (Keys 1981) with a = -0.75 and the end points repeated,
/// as "bicubic" is in PyTorch.
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
