//! One condition, and whether a payload meets it.

use std::collections::HashSet;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::Dates;
use crate::{Facts, GalleryError, Payload};

/// One comparison of one field with one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) field: Field,
    pub(crate) comparison: Comparison,
    /// As it was written.
    pub(crate) value: String,
    /// The value as a number, where it is one.
    pub(crate) number: Option<f64>,
    /// The value as a date, where the field has dates and it is one.
    pub(crate) dates: Option<Dates>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Source,
    Key,
    Label,
    Blake3,
    Location,
    Width,
    Height,
    Bytes,
    Modified,
    /// An extra field of that name, where the image has one; otherwise a fact.
    Fact(&'static str),
    Extra(String),
}

impl Field {
    /// The field that a name means.
    pub(crate) fn named(name: &str) -> Field {
        match name {
            "source" => Field::Source,
            "key" => Field::Key,
            "label" => Field::Label,
            "blake3" => Field::Blake3,
            "location" => Field::Location,
            "width" => Field::Width,
            "height" => Field::Height,
            "bytes" => Field::Bytes,
            "modified" => Field::Modified,
            other => match Facts::NAMES.into_iter().find(|name| *name == other) {
                Some(fact) => Field::Fact(fact),
                None => Field::Extra(other.to_string()),
            },
        }
    }

    /// As [`Field::named`], for a name that may be anything.
    pub(crate) fn checked(name: &str) -> Result<Field, GalleryError> {
        match Field::is_name(name) {
            true => Ok(Field::named(name)),
            false => Err(GalleryError::BadRequest(format!(
                "{name:?} cannot be the name of a field; give one of letters, digits, `_` and `-`, for example \
                 label"
            ))),
        }
    }

    /// Whether [`Field::named`] may be asked: letters, digits, `_` and `-`.
    pub(crate) fn is_name(name: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !name.is_empty() && name.chars().all(plain)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Field::Source => "source",
            Field::Key => "key",
            Field::Label => "label",
            Field::Blake3 => "blake3",
            Field::Location => "location",
            Field::Width => "width",
            Field::Height => "height",
            Field::Bytes => "bytes",
            Field::Modified => "modified",
            Field::Fact(name) => name,
            Field::Extra(name) => name,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Field::Width | Field::Height | Field::Bytes | Field::Modified
        )
    }

    /// The values of the field in a stored payload, each once, with the JSON that tells them apart.
    pub(crate) fn values(&self, payload: &Map<String, Value>) -> Vec<(String, Value)> {
        let within = |object: &str, name: &str| payload.get(object)?.get(name);
        let value = match self {
            Field::Extra(name) => within("extra", name),
            Field::Fact(name) => within("extra", name)
                .filter(|value| !is_nothing(value))
                .or_else(|| within("facts", name)),
            field => payload.get(field.name()),
        };
        let values = match value {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        let mut seen = HashSet::new();
        values
            .iter()
            .filter(|value| value.is_string() || value.is_number() || value.is_boolean())
            .map(|value| (value.to_string(), value.clone()))
            .filter(|(name, _)| seen.insert(name.clone()))
            .collect()
    }

    /// Whether the fact of that name is a time.
    pub(super) fn has_dates(&self) -> bool {
        matches!(self, Field::Fact("taken"))
    }

    /// The field's place in a stored payload.
    pub(crate) fn path(&self) -> String {
        match self {
            // Quoted: a name may have a hyphen in it.
            Field::Extra(name) => format!("extra.\"{name}\""),
            Field::Fact(name) => format!("facts.{name}"),
            _ => self.name().to_string(),
        }
    }

    /// The place that counts before the field's own wherever it is not empty.
    pub(crate) fn path_before(&self) -> Option<String> {
        match self {
            Field::Fact(name) => Some(Field::Extra((*name).to_owned()).path()),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Longer signs before their beginnings.
    pub(super) const ALL: [(&str, Comparison); 6] = [
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];

    pub(super) fn sign(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, comparison)| *comparison == self)
            .map_or("", |(sign, _)| sign)
    }

    pub(crate) fn is_equality(self) -> bool {
        matches!(self, Comparison::Equal | Comparison::NotEqual)
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }
}

impl Condition {
    pub(super) fn matches(&self, payload: &Payload) -> bool {
        let text =
            |text: &str| same_text(text, &self.value) == (self.comparison == Comparison::Equal);
        let optional_text = |value: &Option<String>| match value {
            Some(value) => text(value),
            None => self.comparison == Comparison::NotEqual,
        };
        let number = |n: f64| {
            self.number
                .is_some_and(|wanted| self.comparison.holds(n, wanted))
        };
        let optional_number = |n: Option<f64>| match n {
            Some(n) => number(n),
            None => self.comparison == Comparison::NotEqual,
        };
        match &self.field {
            Field::Source => text(&payload.source),
            Field::Key => text(&payload.key),
            Field::Blake3 => text(&payload.blake3),
            Field::Label => optional_text(&payload.label),
            Field::Location => optional_text(&payload.location),
            Field::Width => number(payload.width.into()),
            Field::Height => number(payload.height.into()),
            Field::Bytes => optional_number(payload.bytes.map(|n| n as f64)),
            Field::Modified => optional_number(payload.modified.map(|n| n as f64)),
            Field::Extra(name) => self.matches_value(payload.extra.get(name)),
            Field::Fact(name) => match (payload.own(name), payload.facts.value(name)) {
                (None, Some(Value::String(time))) if self.dates.is_some() => {
                    let holds = |dates: &Dates| dates.holds(self.comparison, &time);
                    let within = self.dates.as_ref().is_some_and(holds);
                    within != (self.comparison == Comparison::NotEqual)
                }
                (None, fact) => self.matches_value(fact.as_ref()),
                (own, _) => self.matches_value(own),
            },
        }
    }

    /// As [`matches`](Self::matches), for a value of any kind.
    fn matches_value(&self, value: Option<&Value>) -> bool {
        match (value, self.comparison) {
            (None, comparison) => comparison == Comparison::NotEqual,
            (Some(value), Comparison::NotEqual) => !self.equals(value),
            (Some(value), Comparison::Equal) => self.equals(value),
            (Some(value), comparison) => any(value, &|value| {
                value
                    .as_f64()
                    .zip(self.number)
                    .is_some_and(|(n, wanted)| comparison.holds(n, wanted))
            }),
        }
    }

    fn equals(&self, value: &Value) -> bool {
        any(value, &|value| match value {
            Value::String(text) => same_text(text, &self.value),
            Value::Number(_) => value.as_f64().is_some() && value.as_f64() == self.number,
            Value::Bool(truth) => self.truth() == Some(*truth),
            _ => false,
        })
    }

    /// The value as a truth value, where it is one.
    pub(crate) fn truth(&self) -> Option<bool> {
        self.value.parse().ok()
    }
}

/// What stores take for an empty field.
pub(crate) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// An array passes a test when one of its elements does.
fn any(value: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(values) => values.iter().any(test),
        value => test(value),
    }
}

/// A text as it is and in the normal forms in which a file system or a keyboard may have written
/// it, each once.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    if !text.is_ascii() {
        for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

/// Whether two texts are the same, whatever normal form they are in.
fn same_text(a: &str, b: &str) -> bool {
    a == b || !(a.is_ascii() && b.is_ascii()) && forms(b).iter().any(|form| form == a)
}
#[cfg(test)]
mod tests {
    use crate::filter::tests::payload;
    use crate::{Filter, Payload};

    #[test]
    fn says_what_passes() {
        for (text, passes) in [
            ("label=3", true),
            ("label = 3", true),
            ("label=4", false),
            ("label!=4", true),
            ("key=a=b", true),
            ("width>=640", true),
            ("width>640", false),
            ("height<480.5", true),
            ("height!=480", false),
            ("location=/photos/a", true),
            ("location!=/photos/a", false),
            ("bytes>=1000", true),
            ("bytes<1000", false),
            ("modified>0", false),
            ("modified!=0", true),
            ("year=1999", true),
            ("year<=1998", false),
            ("ratio<1", true),
            ("city=Basel", true),
            ("city!=Bern", true),
            ("sharp=true", true),
            ("sharp=false", false),
            ("tags=sea", true),
            ("tags=2", true),
            ("taken>=2024-06-01", true),
            ("taken>2024-06-01", false),
            ("taken=2024", true),
            ("taken!=2024-06", false),
            ("taken<2024-06-01T12:30", false),
            ("taken=2024-06-01 12:30:05", true),
            ("taken=soon", false),
            ("taken>3", false),
            ("camera=Leica", true),
            ("camera!=Leica M3", true),
            ("orientation=6", true),
            ("latitude>47", true),
            ("sharpness<0.5", true),
            ("brightness=dim", true),
            ("brightness<1", false),
            ("nothing=1", false),
            ("nothing!=1", true),
            ("nothing<1", false),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.matches(&payload()), passes, "{text}");
        }
        let unlabelled = Payload::default();
        assert!(!"label=3".parse::<Filter>().unwrap().matches(&unlabelled));
        assert!("label!=3".parse::<Filter>().unwrap().matches(&unlabelled));
    }

    #[test]
    fn text_is_the_same_in_every_normal_form() {
        let (composed, decomposed) = ("Caf\u{e9}", "Cafe\u{301}");
        for (stored, typed) in [(composed, decomposed), (decomposed, composed)] {
            let payload = Payload {
                label: Some(stored.into()),
                extra: serde_json::json!({"city": stored})
                    .as_object()
                    .unwrap()
                    .clone(),
                ..payload()
            };
            for (text, passes) in [
                (format!("label={typed}"), true),
                (format!("label!={typed}"), false),
                (format!("city={typed}"), true),
                (format!("label={typed}s"), false),
            ] {
                let filter: Filter = text.parse().unwrap();
                assert_eq!(filter.matches(&payload), passes, "{text}");
            }
        }
    }
}
