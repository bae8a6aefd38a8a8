//! Values of options: what is accepted, and what is said of the rest.

use clap::builder::RangedU64ValueParser;
use lookalike::MIN_TILES;
use lookalike::gallery::MAX_TILES;

pub(super) fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

pub(super) fn positive() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

pub(super) fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

pub(super) fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("expected a number".to_owned()),
    }
}

pub(super) fn not_negative(text: &str) -> Result<f32, String> {
    let distance = finite(text).ok().filter(|distance| *distance >= 0.0);
    distance.ok_or_else(|| "expected a number of at least 0".to_owned())
}

pub(super) fn tiles(text: &str) -> Result<usize, String> {
    let range = MIN_TILES..=MAX_TILES;
    match text.parse() {
        Ok(tiles) if tiles == 0 || range.contains(&tiles) => Ok(tiles),
        _ => Err(format!(
            "expected a number from {MIN_TILES} to {MAX_TILES}, or 0"
        )),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("expected a number of seconds".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<(usize, usize), String> {
    let sides = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| "expected WIDTHxHEIGHT, as in 64x64".to_owned())
}
