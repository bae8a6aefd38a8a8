//! Loss curves.

use super::canvas::{
    BOLD_FONT, Canvas, Colour, FAINT_INK, HAIRLINE, INK, TEXT_FONT, TITLE_FONT, shorten,
    text_height, text_width,
};
use lookalike::images::Pixels;

const WIDTH: usize = 820;
const HEIGHT: usize = 460;
const MARGIN: usize = 20;

/// The colours of Okabe and Ito, told apart by the colour-blind too.
const COLOURS: [Colour; 6] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
];

/// One named line of a [`Curve`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points (x, y), in the order in which they are joined. One that is not finite, or not
    /// positive on a logarithmic axis, leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// A picture of named lines over axes: how a loss fell.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Curve {
    /// The line over the picture; may be empty.
    pub title: String,
    /// What x is.
    pub x_label: String,
    /// What y is.
    pub y_label: String,
    /// Whether y is logarithmic.
    pub log_y: bool,
    /// The lines; the first ones are drawn last, over the others.
    pub series: Vec<Series>,
}

impl Curve {
    /// Draws the picture, 820 x 460 pixels.
    pub fn render(&self) -> Pixels {
        let mut canvas = Canvas::new(WIDTH, HEIGHT);
        let x_axis = Axis::new(self.points().map(|(x, _)| x), false);
        let y_axis = Axis::new(self.points().map(|(_, y)| y).chain(self.zero()), self.log_y);
        let widest = y_axis
            .ticks
            .iter()
            .map(|(_, text)| text_width(text, TEXT_FONT))
            .max();
        let line = text_height(TEXT_FONT);
        let mut top = MARGIN;
        if !self.title.is_empty() {
            let title = shorten(&self.title, WIDTH - 2 * MARGIN, TITLE_FONT);
            canvas.text(MARGIN, top, &title, TITLE_FONT, INK);
            top += text_height(TITLE_FONT) + 12;
        }
        canvas.text(
            MARGIN,
            top,
            &shorten(&self.y_label, 200, BOLD_FONT),
            BOLD_FONT,
            FAINT_INK,
        );
        self.draw_legend(&mut canvas, top);
        top += line + 10;
        let plot = Plot {
            left: MARGIN + widest.unwrap_or(0) + 8,
            top,
            right: WIDTH - MARGIN - 6,
            bottom: HEIGHT - MARGIN - 2 * line - 12,
        };
        for (part, text) in &y_axis.ticks {
            let y = plot.y(*part).round() as usize;
            canvas.rectangle(plot.left, y, plot.right - plot.left, 1, HAIRLINE);
            let x = plot.left - 8 - text_width(text, TEXT_FONT);
            canvas.text(x, y.saturating_sub(line / 2), text, TEXT_FONT, FAINT_INK);
        }
        for (part, text) in &x_axis.ticks {
            let x = plot.x(*part).round() as usize;
            canvas.rectangle(x, plot.bottom, 1, 5, FAINT_INK);
            let half = text_width(text, TEXT_FONT) / 2;
            let x = x.saturating_sub(half).min(WIDTH - 2 * half - 2);
            canvas.text(x, plot.bottom + 8, text, TEXT_FONT, FAINT_INK);
        }
        canvas.rectangle(plot.left, plot.bottom, plot.right - plot.left, 1, FAINT_INK);
        let label = shorten(&self.x_label, WIDTH / 2, BOLD_FONT);
        let x = plot.right - text_width(&label, BOLD_FONT);
        canvas.text(x, plot.bottom + 12 + line, &label, BOLD_FONT, FAINT_INK);
        if x_axis.ticks.is_empty() || y_axis.ticks.is_empty() {
            canvas.text(
                plot.left + 10,
                plot.top + 10,
                "no points to draw",
                TEXT_FONT,
                FAINT_INK,
            );
            return canvas.into_pixels();
        }
        // A line may lean over the plot's edge by its own thickness.
        let bounds = [plot.left - 3, plot.top - 3, plot.right + 4, plot.bottom + 4];
        for (number, series) in self.series.iter().enumerate().rev() {
            let place = |&(x, y): &(f64, f64)| (plot.x(x_axis.part(x)), plot.y(y_axis.part(y)));
            let points: Vec<_> = series.points.iter().map(place).collect();
            // A crowd of points is noise, which a thinner line shows better.
            let thickness = if points.len() > 400 { 1.4 } else { 2.4 };
            canvas.smooth_line(&points, thickness, COLOURS[number % COLOURS.len()], bounds);
            if points.len() <= 40 {
                for point in points {
                    canvas.smooth_line(&[point], 6.0, COLOURS[number % COLOURS.len()], bounds);
                }
            }
        }
        canvas.into_pixels()
    }

    /// All points that can be drawn.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let drawable =
            |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.log_y || y > 0.0);
        self.series
            .iter()
            .flat_map(|series| &series.points)
            .copied()
            .filter(drawable)
    }

    /// Zero, if the values come near enough to it that the axis should begin there.
    fn zero(&self) -> Option<f64> {
        let values = || self.points().map(|(_, y)| y);
        let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        (!self.log_y && 0.0 <= low && low < high / 2.0).then_some(0.0)
    }

    /// Names and colours, right-aligned in the line at `y`.
    fn draw_legend(&self, canvas: &mut Canvas, y: usize) {
        let mut right = WIDTH - MARGIN - 6;
        for (number, series) in self.series.iter().enumerate().rev() {
            let name = shorten(&series.name, 160, TEXT_FONT);
            let width = 24 + text_width(&name, TEXT_FONT);
            // Beside the label of the axis there is room for so many.
            if right < 240 + width {
                return;
            }
            let left = right - width;
            let middle = (y + text_height(TEXT_FONT) / 2) as f32;
            let swatch = [(left as f32 + 1.0, middle), (left as f32 + 16.0, middle)];
            let bounds = [0, 0, WIDTH, HEIGHT];
            canvas.smooth_line(&swatch, 3.0, COLOURS[number % COLOURS.len()], bounds);
            canvas.text(left + 24, y, &name, TEXT_FONT, INK);
            right = left - 20.min(left);
        }
    }
}

/// The rectangle that the axes span, in pixels.
struct Plot {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Plot {
    fn x(&self, part: f64) -> f32 {
        (self.left as f64 + part * (self.right - self.left) as f64) as f32
    }

    fn y(&self, part: f64) -> f32 {
        (self.bottom as f64 - part * (self.bottom - self.top) as f64) as f32
    }
}

/// A range of values, with ticks at round ones.
struct Axis {
    log: bool,
    /// The ends, as logarithms if `log`.
    from: f64,
    to: f64,
    /// Place, 0 to 1, and text.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let mut axis = Self {
            log,
            from: 0.0,
            to: 1.0,
            ticks: Vec::new(),
        };
        if low > high {
            return axis;
        }
        let at = match log {
            true => axis.spread_log(low, high),
            false => axis.spread_even(low, high),
        };
        axis.ticks = at
            .into_iter()
            .map(|(value, text)| (axis.part(value), text))
            .collect();
        axis
    }

    /// Place of a value, 0 to 1 within the axis.
    fn part(&self, value: f64) -> f64 {
        let value = if self.log { value.ln() } else { value };
        (value - self.from) / (self.to - self.from)
    }

    /// Ticks at steps of 1, 2 or 5 times a power of ten, at most about six.
    fn spread_even(&mut self, low: f64, high: f64) -> Vec<(f64, String)> {
        // One value alone gets room on both sides of it.
        let room = if low == high {
            (low.abs() * 0.1).max(1e-9)
        } else {
            0.0
        };
        let (low, high) = (low - room, high + room);
        let rough = (high / 6.0 - low / 6.0).max(f64::MIN_POSITIVE * 1e9);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|n| n * power)
            .find(|&step| step >= rough);
        let step = step.unwrap_or(10.0 * power);
        (self.from, self.to) = (low, high);
        let first = (low / step - 1e-9).ceil();
        let count = ((high - first * step) / step + 1e-9)
            .floor()
            .clamp(0.0, 20.0) as usize;
        (0..=count)
            .map(|number| {
                let value = (first + number as f64) * step;
                (value, format_tick(value, step))
            })
            .collect()
    }

    /// Ticks at powers of ten, with 2 and 5 times them where there are few.
    fn spread_log(&mut self, low: f64, high: f64) -> Vec<(f64, String)> {
        let room = if low == high { 1.25 } else { 1.0 };
        let (low, high) = (
            (low / room).max(f64::MIN_POSITIVE),
            (high * room).min(f64::MAX),
        );
        (self.from, self.to) = (low.ln(), high.ln());
        let decades = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let wide = high.log10() - low.log10();
        let factors: &[f64] = match wide {
            0.0..0.7 => return self.ticks_inside_a_decade(low, high),
            0.7..3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = ((wide / 8.0).ceil() as usize).max(1);
        (decades.0..=decades.1)
            .step_by(every)
            .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
            .filter(|value| (low * 0.999..=high * 1.001).contains(value))
            .map(|value| (value, format_tick(value, value)))
            .collect()
    }

    /// Even steps, on the logarithmic axis, where it spans too little for powers of ten.
    fn ticks_inside_a_decade(&self, low: f64, high: f64) -> Vec<(f64, String)> {
        let mut even = Self {
            log: false,
            from: 0.0,
            to: 1.0,
            ticks: Vec::new(),
        };
        even.spread_even(low, high)
    }
}

/// A value with as many places as its step needs.
fn format_tick(value: f64, step: f64) -> String {
    // What is left of a step after subtraction is zero.
    let value = if value.abs() < step.abs() * 1e-6 {
        0.0
    } else {
        value
    };
    let places = (-step.abs().log10().floor()).max(0.0);
    if places > 5.0 || value.abs() >= 1e7 {
        return format!("{value:.0e}");
    }
    format!("{value:.*}", places as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(low: f64, high: f64, log: bool) -> Vec<String> {
        let axis = Axis::new([low, high].into_iter(), log);
        assert!(
            axis.ticks
                .iter()
                .all(|(part, _)| (-1e-2..=1.01).contains(part))
        );
        axis.ticks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 5.0, false), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(
            ticks(0.013, 0.112, false),
            ["0.02", "0.04", "0.06", "0.08", "0.10"]
        );
        assert_eq!(
            ticks(-300.0, 300.0, false),
            ["-300", "-200", "-100", "0", "100", "200", "300"]
        );
        assert_eq!(
            ticks(0.004, 0.11, true),
            ["0.005", "0.01", "0.02", "0.05", "0.1"]
        );
        assert_eq!(ticks(0.11, 0.19, true), ["0.12", "0.14", "0.16", "0.18"]);
        assert_eq!(
            ticks(1e-4, 10.0, true),
            ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
        );
    }

    #[test]
    fn one_value_alone_has_an_axis() {
        for value in [0.0, 1.0, -5.0, 1e-7, 1e9] {
            assert!(!ticks(value, value, false).is_empty(), "{value}");
        }
        assert!(!ticks(0.1, 0.1, true).is_empty());
    }

    #[test]
    fn curves_of_anything_can_be_drawn() {
        let extremes = [0.0, -1.0, 1e-300, f64::MAX, f64::NAN, f64::INFINITY];
        for log_y in [false, true] {
            for a in extremes {
                for b in extremes {
                    let points = vec![(0.0, a), (1.0, b), (a, b)];
                    let series = Series {
                        name: "loss".repeat(100),
                        points,
                    };
                    let curve = Curve {
                        log_y,
                        series: vec![series],
                        ..Curve::default()
                    };
                    assert_eq!(curve.render().width(), WIDTH);
                }
            }
        }
        // More series than colours, and than names fit the legend.
        let many = Curve {
            series: vec![Series::default(); 9],
            ..Curve::default()
        };
        assert_eq!(many.render().height(), HEIGHT);
    }

    #[test]
    fn each_series_has_its_colour() {
        let series = |name: &str, level: f64| Series {
            name: name.into(),
            points: (0..5)
                .map(|x| (f64::from(x), level + f64::from(x)))
                .collect(),
        };
        let picture = Curve {
            series: vec![series("a", 0.0), series("b", 1.0)],
            ..Curve::default()
        }
        .render();
        for colour in &COLOURS[..2] {
            assert!(picture.data().chunks(3).any(|pixel| pixel == colour));
        }
    }
}
