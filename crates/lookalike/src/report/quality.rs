//! The report's pictures with something wrong, and how what they are judged by is distributed.

use std::fmt::Write as _;

use super::{Page, name};
use crate::check::{Check, Finding, Side};

/// Pictures that are shown of each fault, the worst.
pub(super) const WORST: usize = 8;

/// Height of a histogram's bars, and width of one, in units of the drawing.
const HEIGHT: f64 = 60.0;
const BAR: usize = 8;

impl Page<'_> {
    /// Each fault that pictures have, with the worst of them; then the other measures.
    pub(super) fn quality(&mut self, found: &Check) {
        let _ = write!(
            self.html,
            "<h2>Quality</h2><p>{} of {} images have something wrong, judged by what is usual here.",
            found.faulty, found.points
        );
        if found.unmeasured > 0 {
            let _ = write!(
                self.html,
                " {} are judged by their size alone: they were indexed before images were measured.",
                found.unmeasured
            );
        }
        self.html.push_str("</p>\n");
        let (faulty, sound): (Vec<&Finding>, Vec<&Finding>) =
            found.findings.iter().partition(|finding| finding.count > 0);
        let mut drawn: Vec<&str> = Vec::new();
        for finding in faulty {
            drawn.push(finding.measure);
            let _ = write!(
                self.html,
                "<h3>{}: {}</h3><p>{}</p>{}<div class=\"row\">",
                finding.fault,
                finding.count,
                rule(finding),
                histogram(finding)
            );
            for image in &finding.images {
                let caption = format!("{}: {}", short(image.value), name(&image.payload));
                self.figure(&image.payload, &caption);
            }
            if let more @ 1.. = finding.count - finding.images.len() {
                let _ = write!(self.html, "<span>and {more} more</span>");
            }
            self.html.push_str("</div>\n");
        }
        self.html.push_str("<div class=\"row\">");
        for finding in sound {
            let measured = !finding.histogram.counts.is_empty();
            if measured && !drawn.contains(&finding.measure) {
                drawn.push(finding.measure);
                let drawing = histogram(finding);
                let caption = words(finding.measure);
                let _ = write!(
                    self.html,
                    "<figure class=\"wide\">{drawing}<figcaption>{caption}: nothing is wrong</figcaption></figure>"
                );
            }
        }
        self.html.push_str("</div>\n");
    }
}

/// What is judged, and from where on it is wrong.
fn rule(finding: &Finding) -> String {
    let measure = words(finding.measure);
    let usual = finding.median.map_or_else(String::new, |median| {
        format!(" The median is {}.", short(median))
    });
    match finding.threshold {
        Some(threshold) => {
            let side = match finding.side {
                Side::Below => "below",
                Side::Above => "above",
            };
            format!(
                "Wrong {side} a {measure} of {}, the line in the drawing.{usual}",
                short(threshold)
            )
        }
        None => format!("Judged by {measure}.{usual}"),
    }
}

/// A measure in words.
fn words(measure: &str) -> &str {
    match measure {
        "flat_bottom" => "share of flat rows at the bottom",
        "undecoded" => "share of rows without data",
        "elongation" => "longer side by shorter side",
        "side" => "side of a square of as many pixels",
        measure => measure,
    }
}

/// A drawing of the distribution. Bars are as high as the root of what they count, so that a few
/// among thousands are seen.
fn histogram(finding: &Finding) -> String {
    let (edges, counts) = (&finding.histogram.edges, &finding.histogram.counts);
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return String::new();
    };
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = BAR * counts.len();
    let mut svg = format!(
        "<svg class=\"histogram\" viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"How {} is distributed, from {} to {}\">",
        HEIGHT + 14.0,
        words(finding.measure),
        short(*first),
        short(*last)
    );
    for (at, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let high = (HEIGHT * (count as f64 / most).sqrt()).max(2.0);
        let beyond = finding
            .threshold
            .is_some_and(|threshold| match finding.side {
                Side::Below => edges[at + 1] <= threshold,
                Side::Above => edges[at] >= threshold,
            });
        let class = if beyond { " class=\"beyond\"" } else { "" };
        let _ = write!(
            svg,
            "<rect{class} x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{high:.1}\"><title>{} to {}: {count}</title></rect>",
            at * BAR,
            HEIGHT - high,
            BAR - 1,
            short(edges[at]),
            short(edges[at + 1])
        );
    }
    if let Some(threshold) = finding.threshold {
        let after = edges.partition_point(|&edge| edge <= threshold);
        let bars = match after {
            0 => 0.0,
            after if after == edges.len() => counts.len() as f64,
            after => {
                let (low, high) = (edges[after - 1], edges[after]);
                (after - 1) as f64 + (threshold - low) / (high - low)
            }
        };
        let x = bars * BAR as f64;
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>"
        );
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{y}\">{}</text><text x=\"{width}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>",
        short(*first),
        short(*last),
        y = HEIGHT + 12.0
    );
    svg
}

/// A number of about three digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Fault, Histogram};

    fn finding(threshold: Option<f64>) -> Finding {
        Finding {
            fault: Fault::Dark,
            measure: "brightness",
            side: Side::Below,
            threshold,
            median: Some(0.5),
            count: 3,
            histogram: Histogram {
                edges: vec![0.0, 0.25, 0.5, 1.0],
                counts: vec![3, 0, 100],
            },
            images: Vec::new(),
        }
    }

    #[test]
    fn a_histogram_marks_what_lies_beyond_the_threshold() {
        let drawn = histogram(&finding(Some(0.25)));
        assert_eq!(drawn.matches("<rect").count(), 2, "none for an empty bar");
        assert_eq!(drawn.matches("class=\"beyond\"").count(), 1);
        assert!(drawn.contains("<title>0.00 to 0.250: 3</title>"), "{drawn}");
        assert!(drawn.contains("<line x1=\"8.0\""), "{drawn}");
        let without = histogram(&finding(None));
        assert!(!without.contains("<line") && !without.contains("beyond"));
        let empty = Finding {
            histogram: Histogram::default(),
            ..finding(None)
        };
        assert_eq!(histogram(&empty), "");
        assert_eq!(
            rule(&finding(Some(0.25))),
            "Wrong below a brightness of 0.250, the line in the drawing. The median is 0.500."
        );
    }
}
