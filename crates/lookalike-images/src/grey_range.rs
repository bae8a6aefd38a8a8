//! What is black and what is white in grey pictures of more than 8 bits.

use serde::{Deserialize, Serialize};

/// The values of grey pictures with more than 8 bits that are black and white; what lies beyond is
/// black or white too. Cameras and microscopes write 12 bits into 16, and floats of any size. It is
/// written `LOW,HIGH`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct GreyRange {
    low: f64,
    high: f64,
}

impl GreyRange {
    /// From black to white. None where they are not numbers in this order.
    pub fn new(low: f64, high: f64) -> Option<Self> {
        let fits = low.is_finite() && high.is_finite() && low < high;
        fits.then_some(Self { low, high })
    }

    /// The value that is black.
    pub fn low(self) -> f64 {
        self.low
    }

    /// The value that is white.
    pub fn high(self) -> f64 {
        self.high
    }

    /// The range that suits values drawn from a collection: from their percentile 0.1 to their
    /// percentile 99.9, so that a few hot or dead pixels do not decide. None if they are all the
    /// same, or there are none.
    pub fn of_values(mut values: Vec<f32>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f32::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| f64::from(values[(last as f64 * share).round() as usize]);
        Self::new(at(0.001), at(0.999)).or_else(|| Self::new(at(0.0), at(1.0)))
    }

    /// A value as a byte.
    pub(crate) fn byte(self, value: f64) -> u8 {
        // A value that is not a number becomes black.
        (((value - self.low) / (self.high - self.low)) * 255.0 + 0.5).clamp(0.0, 255.0) as u8
    }
}

impl From<GreyRange> for (f64, f64) {
    fn from(range: GreyRange) -> Self {
        (range.low, range.high)
    }
}

impl TryFrom<(f64, f64)> for GreyRange {
    type Error = String;

    fn try_from((low, high): (f64, f64)) -> Result<Self, String> {
        Self::new(low, high)
            .ok_or_else(|| format!("{low} to {high} is not a range: the lower value comes first"))
    }
}

impl std::fmt::Display for GreyRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.low, self.high)
    }
}

impl std::str::FromStr for GreyRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(',').and_then(|(low, high)| {
            let number = |text: &str| text.trim().parse::<f64>().ok();
            Self::new(number(low)?, number(high)?)
        });
        numbers.ok_or_else(|| "expected LOW,HIGH, the lower value first, as in 0,4095".to_owned())
    }
}
