//! A picture to draw on: rectangles, pictures, text and smooth lines.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, mono_font::iso_8859_1 as fonts};

use lookalike::images::{InputShape, Pixels, fit};

/// Red, green, blue.
pub type Colour = [u8; 3];

pub const WHITE: Colour = [255, 255, 255];
/// Titles and captions: dark, not black.
pub const INK: Colour = [33, 37, 41];
/// What explains: axes' numbers, headings.
pub const FAINT_INK: Colour = [84, 92, 100];
/// Lines that should not be looked at.
pub const HAIRLINE: Colour = [222, 226, 230];

pub const TITLE_FONT: &MonoFont<'static> = &fonts::FONT_9X18_BOLD;
pub const BOLD_FONT: &MonoFont<'static> = &fonts::FONT_7X14_BOLD;
pub const TEXT_FONT: &MonoFont<'static> = &fonts::FONT_7X14;

/// The longest side of a picture, as PNG writers and our own pixels have it.
const MAX_SIDE: usize = 65_535;
/// The most pixels a drawn picture may have; beyond it the canvas is cut off below.
const MAX_PIXELS: usize = 1 << 27;

/// An RGB picture under construction; what is drawn outside of it is cut off.
pub struct Canvas {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Canvas {
    /// A white canvas.
    pub fn new(width: usize, height: usize) -> Self {
        let width = width.clamp(1, MAX_SIDE);
        let height = height.clamp(1, MAX_SIDE.min(MAX_PIXELS / width));
        Self {
            width,
            height,
            data: vec![255; width * height * 3],
        }
    }

    pub fn into_pixels(self) -> Pixels {
        Pixels::new(self.width, self.height, 3, self.data)
            .expect("a canvas has as many values as its sides say")
    }

    pub fn rectangle(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        for y in y..bottom {
            for x in x..right {
                self.set(x, y, colour);
            }
        }
    }

    /// Draws a picture with its upper left corner at (x, y), each of its pixels `factor` wide and
    /// high.
    pub fn picture(&mut self, x: usize, y: usize, pixels: &Pixels, factor: usize) {
        let shape = InputShape {
            channels: 3,
            ..InputShape::of(pixels)
        };
        let colour = fit(pixels, shape);
        for (row, pixels) in colour.data().chunks_exact(colour.width() * 3).enumerate() {
            for (column, pixel) in pixels.chunks_exact(3).enumerate() {
                let colour = [pixel[0], pixel[1], pixel[2]];
                self.rectangle(
                    x + column * factor,
                    y + row * factor,
                    factor,
                    factor,
                    colour,
                );
            }
        }
    }

    /// Writes a line of text, its upper left corner at (x, y).
    pub fn text(&mut self, x: usize, y: usize, text: &str, font: &MonoFont, colour: Colour) {
        let [r, g, b] = colour;
        let style = MonoTextStyle::new(font, Rgb888::new(r, g, b));
        let text = writable(text);
        let Ok(_) =
            Text::with_baseline(&text, Point::new(x as i32, y as i32), style, Baseline::Top)
                .draw(self);
    }

    /// Draws lines through points, `thickness` wide, with smooth edges. A point that is not finite
    /// interrupts them.
    pub fn smooth_line(
        &mut self,
        points: &[(f32, f32)],
        thickness: f32,
        colour: Colour,
        bounds: [usize; 4],
    ) {
        let [left, top, right, bottom] = bounds;
        let (right, bottom) = (right.min(self.width), bottom.min(self.height));
        if left >= right || top >= bottom {
            return;
        }
        // The strongest cover of all segments, so that joints are not painted twice.
        let mut cover = vec![0.0f32; (right - left) * (bottom - top)];
        let reach = thickness / 2.0 + 0.5;
        let finite = |&(x, y): &(f32, f32)| x.is_finite() && y.is_finite();
        let mut segment = |from: (f32, f32), to: (f32, f32)| {
            let columns = span(from.0, to.0, reach, left, right);
            for y in span(from.1, to.1, reach, top, bottom) {
                for x in columns.clone() {
                    let distance = distance_to_segment((x as f32, y as f32), from, to);
                    let cover = &mut cover[(y - top) * (right - left) + x - left];
                    *cover = cover.max((reach - distance).clamp(0.0, 1.0));
                }
            }
        };
        for run in points.split(|point| !finite(point)) {
            if let [only] = run {
                segment(*only, *only);
            }
            for pair in run.windows(2) {
                segment(pair[0], pair[1]);
            }
        }
        for (row, cover) in cover.chunks_exact(right - left).enumerate() {
            for (column, &cover) in cover.iter().enumerate().filter(|(_, cover)| **cover > 0.0) {
                let at = ((top + row) * self.width + left + column) * 3;
                for (value, ink) in self.data[at..at + 3].iter_mut().zip(colour) {
                    *value =
                        (f32::from(*value) * (1.0 - cover) + f32::from(ink) * cover).round() as u8;
                }
            }
        }
    }

    fn set(&mut self, x: usize, y: usize, colour: Colour) {
        let at = (y * self.width + x) * 3;
        self.data[at..at + 3].copy_from_slice(&colour);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
                && x < self.width
                && y < self.height
            {
                self.set(x, y, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// The pixels, within `first..end`, that a line between two coordinates can reach.
fn span(a: f32, b: f32, reach: f32, first: usize, end: usize) -> std::ops::Range<usize> {
    let from = (a.min(b) - reach).floor().max(first as f32) as usize;
    let to = (a.max(b) + reach).ceil().clamp(0.0, end as f32) as usize;
    from..to.max(from).min(end.max(from))
}

fn distance_to_segment(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let length = dx * dx + dy * dy;
    let along = match length > 0.0 {
        true => ((px * dx + py * dy) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (px - along * dx).hypot(py - along * dy)
}

/// Width of a text in pixels.
pub fn text_width(text: &str, font: &MonoFont) -> usize {
    text.chars().count() * font.character_size.width as usize
}

/// Height of a line of text in pixels.
pub fn text_height(font: &MonoFont) -> usize {
    font.character_size.height as usize
}

/// The text, or its beginning and an ellipsis, so that it is at most `width` pixels wide.
pub fn shorten(text: &str, width: usize, font: &MonoFont) -> String {
    let most = width / font.character_size.width as usize;
    let text = writable(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept = text.chars().take(most.saturating_sub(2));
    kept.chain("..".chars().take(most)).collect()
}

/// The text in the characters that the fonts have (Latin-1); each other one becomes `?`.
fn writable(text: &str) -> String {
    let shown = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}');
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            c if shown(c) => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shorten("seven", 35, TEXT_FONT), "seven");
        assert_eq!(shorten("seventeen", 35, TEXT_FONT), "sev..");
        assert_eq!(shorten("seventeen", 8, TEXT_FONT), ".");
        assert_eq!(shorten("seventeen", 0, TEXT_FONT), "");
    }

    #[test]
    fn unknown_characters_become_question_marks() {
        assert_eq!(writable("Äpfel\n数 ok"), "Äpfel ? ok");
    }

    #[test]
    fn drawing_outside_is_cut_off() {
        let mut canvas = Canvas::new(10, 10);
        canvas.rectangle(8, 8, 100, 100, INK);
        canvas.text(5, 5, "outside", TEXT_FONT, INK);
        let bounds = [0, 0, 100, 100];
        canvas.smooth_line(
            &[(-50.0, -50.0), (f32::NAN, 1.0), (500.0, 3.0), (-9.0, 3.0)],
            2.0,
            INK,
            bounds,
        );
        canvas.smooth_line(&[(1e30, -1e30), (-1e30, 1e30)], 2.0, INK, bounds);
        assert_eq!(canvas.into_pixels().data().len(), 300);
    }

    #[test]
    fn lines_are_smooth() {
        let mut canvas = Canvas::new(20, 20);
        canvas.smooth_line(&[(0.0, 0.0), (19.0, 9.5)], 2.0, [0, 0, 0], [0, 0, 20, 20]);
        let pixels = canvas.into_pixels();
        assert!(pixels.data().contains(&0));
        assert!(pixels.data().iter().any(|v| (1..255).contains(v)));
    }

    #[test]
    fn endless_canvases_are_cut_off() {
        let canvas = Canvas::new(65_535, usize::MAX);
        assert!(canvas.width * canvas.height <= MAX_PIXELS);
    }
}
