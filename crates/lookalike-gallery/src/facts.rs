//! What is known about a picture itself, wherever it lies and whatever it is called.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was found out about a picture's content while it was indexed. Copies have the same.
/// Whatever is not known is none: galleries did not always keep these.
///
/// Filters and facets know each by its name, as `sharpness<0.4`. Where the source itself gives an
/// image a field of that name, that one is meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Mean luma, from 0, black, to 1, white.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
    /// Standard deviation of luma, from 0 to 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f64>,
    /// How much of the change between neighbouring pixels blurring would take away, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f64>,
    /// Entropy of luma in bits, from 0 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Colourfulness; 0 is grey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colourfulness: Option<f64>,
    /// Share of the rows, from the lowest up, of one and the same colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat_bottom: Option<f64>,
    /// The same, if that colour is the grey of data that are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecoded: Option<f64>,
    /// When a photograph was taken, by its camera's clock: `2024-06-01T12:30:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// The camera's maker and model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// The lens's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lens: Option<String>,
    /// Where it was taken: degrees north of the equator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east of Greenwich.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// How the picture in the file is to be turned to be upright, as EXIF numbers it: 1, not at
    /// all, to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<u8>,
}

impl Facts {
    /// The names of all facts.
    pub const NAMES: [&'static str; 13] = [
        "brightness",
        "contrast",
        "sharpness",
        "entropy",
        "colourfulness",
        "flat_bottom",
        "undecoded",
        "taken",
        "camera",
        "lens",
        "latitude",
        "longitude",
        "orientation",
    ];

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the picture was measured.
    pub fn is_measured(&self) -> bool {
        self.brightness.is_some()
    }

    /// Forgets what a camera wrote about a photograph.
    pub fn clear_exif(&mut self) {
        *self = Self {
            taken: None,
            camera: None,
            lens: None,
            latitude: None,
            longitude: None,
            orientation: None,
            ..std::mem::take(self)
        };
    }

    /// The fact of a name, if it is known.
    pub fn value(&self, name: &str) -> Option<Value> {
        let text = match name {
            "taken" => &self.taken,
            "camera" => &self.camera,
            "lens" => &self.lens,
            _ => &None,
        };
        if let Some(text) = text {
            return Some(Value::from(text.as_str()));
        }
        if name == "orientation" {
            return self.orientation.map(Value::from);
        }
        let number = match name {
            "brightness" => self.brightness,
            "contrast" => self.contrast,
            "sharpness" => self.sharpness,
            "entropy" => self.entropy,
            "colourfulness" => self.colourfulness,
            "flat_bottom" => self.flat_bottom,
            "undecoded" => self.undecoded,
            "latitude" => self.latitude,
            "longitude" => self.longitude,
            _ => None,
        };
        number.map(Value::from)
    }

    /// The names of the facts that are known.
    pub fn known(&self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(|name| self.value(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_known_by_its_name() {
        let mut values = serde_json::Map::new();
        for (name, at) in Facts::NAMES.into_iter().zip(1..) {
            let value = match name {
                "taken" | "camera" | "lens" => Value::from(format!("the {at}th")),
                "orientation" => Value::from(at),
                _ => Value::from(f64::from(at)),
            };
            values.insert(name.to_owned(), value);
        }
        let stored = Value::Object(values.clone());
        let facts: Facts = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&facts).unwrap(), stored);
        for (name, value) in values {
            assert_eq!(facts.value(&name), Some(value), "{name}");
        }
        assert!(facts.known().eq(Facts::NAMES));
        assert_eq!(facts.value("nothing"), None);
        assert_eq!(Facts::default().known().count(), 0);
        let mut measured = facts;
        measured.clear_exif();
        assert!(measured.known().eq(Facts::NAMES[..7].iter().copied()));
    }
}
