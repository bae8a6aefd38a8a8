//! Objects of JSON files that know where they are, so that errors name file, key and value.

use lookalike_images::Filter;
use serde_json::{Map, Value};

use super::MAX_SIDE;
use crate::PretrainedError;
use crate::files::Files;

/// An object of a JSON file, which knows where it is.
pub(crate) struct Section<'a> {
    path: std::path::PathBuf,
    /// The keys around it, each with a dot behind.
    prefix: String,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn new(
        files: &Files,
        name: &str,
        value: &'a Value,
    ) -> Result<Self, PretrainedError> {
        let path = files.path(name);
        match value {
            Value::Object(map) => Ok(Self {
                path,
                prefix: String::new(),
                map,
            }),
            other => Err(PretrainedError::Value {
                path,
                key: "the document".to_owned(),
                value: shown(other),
                expected: "an object".to_owned(),
            }),
        }
    }

    pub(super) fn file(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> PretrainedError {
        PretrainedError::Value {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            value: self.map.get(key).map_or("missing".to_owned(), shown),
            expected: expected.to_owned(),
        }
    }

    pub(crate) fn required<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: &str,
    ) -> Result<T, PretrainedError> {
        value.ok_or_else(|| self.wrong(key, expected))
    }

    /// Whether there is a value; `null` is none.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn typed<T>(
        &self,
        key: &str,
        get: impl Fn(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, PretrainedError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => get(value)
                .ok_or_else(|| self.wrong(key, expected))
                .map(Some),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, PretrainedError> {
        self.typed(key, Value::as_bool, "true or false")
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, PretrainedError> {
        self.typed(key, Value::as_f64, "a number")
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, PretrainedError> {
        self.typed(key, Value::as_str, "a text")
    }

    /// An object inside; any other value is `None`, for keys that may also have a plain value.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, PretrainedError> {
        match self.map.get(key) {
            Some(Value::Object(map)) => Ok(Some(Self {
                path: self.path.clone(),
                prefix: format!("{}{key}.", self.prefix),
                map,
            })),
            _ => Ok(None),
        }
    }

    pub(super) fn numbers(&self, key: &str) -> Result<Vec<f64>, PretrainedError> {
        let list = |value: &'a Value| value.as_array()?.iter().map(Value::as_f64).collect();
        let numbers = self.typed(key, list, "a list of numbers")?;
        self.required(key, numbers, "a list of numbers")
    }

    /// One side in pixels.
    pub(super) fn side(&self, key: &str) -> Result<usize, PretrainedError> {
        let side = self.number(key)?;
        let side = self.required(key, side, "a number of pixels")?;
        bounded(self, key, side)
    }

    /// Height and width: a number for both, a list of two, or an object.
    pub(super) fn sides(&self, key: &str) -> Result<Option<(usize, usize)>, PretrainedError> {
        const EXPECTED: &str = "a number of pixels, or height and width";
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(_)) => self.side(key).map(|side| Some((side, side))),
            Some(Value::Array(_)) => match self.numbers(key)?.as_slice() {
                &[height, width] => Ok(Some((
                    bounded(self, key, height)?,
                    bounded(self, key, width)?,
                ))),
                _ => Err(self.wrong(key, EXPECTED)),
            },
            Some(Value::Object(_)) => match self.section(key)? {
                Some(inner) if inner.map.len() == 2 => {
                    Ok(Some((inner.side("height")?, inner.side("width")?)))
                }
                _ => Err(self.wrong(key, EXPECTED)),
            },
            Some(_) => Err(self.wrong(key, EXPECTED)),
        }
    }

    pub(super) fn mean(&self, key: &str) -> Result<Vec<f32>, PretrainedError> {
        self.channels(key, |_| true, "one number for each channel")
    }

    pub(super) fn std(&self, key: &str) -> Result<Vec<f32>, PretrainedError> {
        self.channels(
            key,
            |number| number > 0.0,
            "one number above 0 for each channel",
        )
    }

    pub(super) fn channels(
        &self,
        key: &str,
        valid: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<Vec<f32>, PretrainedError> {
        let numbers = self.numbers(key)?;
        if !matches!(numbers.len(), 1 | 3) || !numbers.iter().all(|&n| n.is_finite() && valid(n)) {
            return Err(self.wrong(key, expected));
        }
        Ok(numbers.into_iter().map(|number| number as f32).collect())
    }

    pub(super) fn interpolation(&self) -> Result<Filter, PretrainedError> {
        match self.text("interpolation")? {
            Some("bilinear") => Ok(Filter::Bilinear),
            Some("bicubic") => Ok(Filter::Bicubic),
            Some("lanczos") => Ok(Filter::Lanczos),
            _ => Err(self.wrong("interpolation", "\"bilinear\", \"bicubic\" or \"lanczos\"")),
        }
    }
}

/// A value as JSON, not too long.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A number of pixels, rounded down.
pub(super) fn bounded(
    config: &Section<'_>,
    key: &str,
    side: f64,
) -> Result<usize, PretrainedError> {
    match side.floor() {
        side if (1.0..=MAX_SIDE as f64).contains(&side) => Ok(side as usize),
        _ => Err(config.wrong(key, &format!("sides of 1 to {MAX_SIDE} pixels"))),
    }
}
