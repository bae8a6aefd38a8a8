use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::{GalleryError, Payload};

/// Between two conditions.
const AND: &str = " and ";

/// Conditions on payloads that must all hold: `label=3`, `width>=100`, `label=3 and key!=7`.
///
/// In writing, conditions are joined with ` and `, which therefore no value can contain; [`Filter::and`]
/// joins filters. What is displayed can be read again.
///
/// `source`, `key`, `label`, `blake3` and `location` are compared as text, with `=` and `!=`; `width`,
/// `height`, `bytes` and `modified` as numbers (of 53 bits), with `=`, `!=`, `<`, `<=`, `>` and `>=`. Any
/// other name means an extra field of the payload:
/// `=` and `!=` compare its text, number or truth value, the others numbers. `!=` is what `=` is not: it
/// also holds where the field is missing.
///
/// ```
/// use lookalike_gallery::Filter;
///
/// let filter: Filter = "label=3".parse()?;
/// let filter = filter.and("width>=100".parse()?);
/// assert_eq!(filter.to_string(), "label=3 and width>=100");
/// assert_eq!("label=3 and width>=100".parse::<Filter>()?, filter);
/// assert!("wide".parse::<Filter>().is_err());
/// # Ok::<(), lookalike_gallery::GalleryError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    conditions: Vec<Condition>,
}

impl Filter {
    /// The longest text of a filter, in bytes.
    pub const MAX_BYTES: usize = 4_096;
    /// The most conditions that one text may have: every image may have to be compared with each.
    pub const MAX_CONDITIONS: usize = 32;

    /// Images of this source, whatever its name: one that has ` and ` in it can be filtered by, though
    /// what is displayed can then not be read again.
    pub fn of_source(source: &str) -> Filter {
        Self::equal(Field::Source, source)
    }

    /// Images whose original is at this place, whatever its name.
    pub fn at_location(location: &str) -> Filter {
        Self::equal(Field::Location, location)
    }

    fn equal(field: Field, value: &str) -> Filter {
        Filter {
            conditions: vec![Condition {
                field,
                comparison: Comparison::Equal,
                value: value.to_owned(),
                number: None,
            }],
        }
    }

    /// Both filters hold.
    pub fn and(mut self, other: Filter) -> Filter {
        self.conditions.extend(other.conditions);
        self
    }

    /// Whether a payload passes.
    pub fn matches(&self, payload: &Payload) -> bool {
        self.conditions.iter().all(|c| c.matches(payload))
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, condition) in self.conditions.iter().enumerate() {
            let joint = if i == 0 { "" } else { AND };
            write!(
                f,
                "{joint}{}{}{}",
                condition.field.name(),
                condition.comparison.sign(),
                condition.value
            )?;
        }
        Ok(())
    }
}

impl FromStr for Filter {
    type Err = GalleryError;

    /// # Errors
    /// [`GalleryError::BadRequest`] names the first condition that cannot be understood, and why; or says
    /// that the text is longer than [`MAX_BYTES`](Filter::MAX_BYTES), or has more than
    /// [`MAX_CONDITIONS`](Filter::MAX_CONDITIONS).
    fn from_str(text: &str) -> Result<Self, GalleryError> {
        if text.len() > Self::MAX_BYTES {
            return Err(GalleryError::BadRequest(format!(
                "the filter is {} bytes long; write at most {}",
                text.len(),
                Self::MAX_BYTES
            )));
        }
        let conditions: Vec<Condition> =
            text.split(AND).map(str::parse).collect::<Result<_, _>>()?;
        if conditions.len() > Self::MAX_CONDITIONS {
            return Err(GalleryError::BadRequest(format!(
                "the filter has {} conditions; write at most {}",
                conditions.len(),
                Self::MAX_CONDITIONS
            )));
        }
        Ok(Filter { conditions })
    }
}

/// One comparison of one field with one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) field: Field,
    pub(crate) comparison: Comparison,
    /// As it was written.
    pub(crate) value: String,
    /// The value as a number, where it is one.
    pub(crate) number: Option<f64>,
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
            extra => Field::Extra(extra.to_string()),
        }
    }

    /// As [`Field::named`], for a name that may be anything.
    pub(crate) fn checked(name: &str) -> Result<Field, GalleryError> {
        match Field::is_name(name) {
            true => Ok(Field::named(name)),
            false => Err(GalleryError::BadRequest(format!(
                "{name:?} is no name of a field; give one of letters, digits, `_` and `-`, for example \
                 label"
            ))),
        }
    }

    /// Whether [`Field::named`] may be asked: letters, digits, `_` and `-`.
    pub(crate) fn is_name(name: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !name.is_empty() && name.chars().all(plain)
    }

    fn name(&self) -> &str {
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
            Field::Extra(name) => name,
        }
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Field::Width | Field::Height | Field::Bytes | Field::Modified
        )
    }

    /// The values of the field in a stored payload, each once, with the JSON that tells them apart.
    pub(crate) fn values(&self, payload: &Map<String, Value>) -> Vec<(String, Value)> {
        let value = match self {
            Field::Extra(name) => payload.get("extra").and_then(|extra| extra.get(name)),
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

    /// The field's place in a stored payload.
    pub(crate) fn path(&self) -> String {
        match self {
            // Quoted: a name may have a hyphen in it.
            Field::Extra(name) => format!("extra.\"{name}\""),
            _ => self.name().to_string(),
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
    const ALL: [(&str, Comparison); 6] = [
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];

    fn sign(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, comparison)| *comparison == self)
            .map_or("", |(sign, _)| sign)
    }

    fn is_equality(self) -> bool {
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
    fn matches(&self, payload: &Payload) -> bool {
        let text = |text: &str| (text == self.value) == (self.comparison == Comparison::Equal);
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
            Field::Extra(name) => match (payload.extra.get(name), self.comparison) {
                (None, comparison) => comparison == Comparison::NotEqual,
                (Some(value), Comparison::NotEqual) => !self.equals(value),
                (Some(value), Comparison::Equal) => self.equals(value),
                (Some(value), comparison) => any(value, &|value| {
                    value
                        .as_f64()
                        .zip(self.number)
                        .is_some_and(|(n, wanted)| comparison.holds(n, wanted))
                }),
            },
        }
    }

    fn equals(&self, value: &Value) -> bool {
        any(value, &|value| match value {
            Value::String(text) => *text == self.value,
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

/// An array passes a test when one of its elements does.
fn any(value: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(values) => values.iter().any(test),
        value => test(value),
    }
}

/// The beginning of a text, short enough for a message.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl FromStr for Condition {
    type Err = GalleryError;

    fn from_str(text: &str) -> Result<Self, GalleryError> {
        let bad = |why: &str| {
            GalleryError::BadRequest(format!(
                "the filter `{}` {why}; write for example label=3, or label=3 and width>=100 (no value \
                 can contain ` and `)",
                excerpt(text)
            ))
        };
        let at = text
            .find(['=', '!', '<', '>'])
            .ok_or_else(|| bad("compares nothing: it has none of = != < <= > >="))?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) = Comparison::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| bad("has a lone `!`"))?;
        let value = rest[sign.len()..].trim();
        if value.is_empty() {
            return Err(bad("lacks the value to compare with"));
        }
        // Joined with another condition it would be read as two joints.
        if value.ends_with(AND.trim_end()) {
            return Err(bad("ends with `and`: a condition is missing after it"));
        }
        if !Field::is_name(name) {
            return Err(bad(
                "lacks a field name of letters, digits, `_` and `-` before the comparison",
            ));
        }
        let field = Field::named(name);
        let number = value.parse().ok().filter(|n: &f64| n.is_finite());
        let is_text = !field.is_number() && !matches!(field, Field::Extra(_));
        if is_text && !comparison.is_equality() {
            return Err(bad("orders text; only = and != compare this field"));
        }
        if number.is_none() && (field.is_number() || !comparison.is_equality()) {
            return Err(bad("compares a number with something that is none"));
        }
        Ok(Condition {
            field,
            comparison,
            value: value.to_string(),
            number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Payload {
        let extra = serde_json::json!({
            "year": 1999, "ratio": 0.5, "city": "Basel", "sharp": true, "tags": ["sea", "2"]
        });
        Payload {
            source: "photos".into(),
            key: "a=b".into(),
            label: Some("3".into()),
            width: 640,
            height: 480,
            blake3: "00ff".into(),
            location: Some("/photos/a".into()),
            bytes: Some(1_000),
            modified: None,
            extra: extra.as_object().unwrap().clone(),
            ..Payload::default()
        }
    }

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
    fn a_source_of_any_name_can_be_filtered_by() {
        for source in ["photos", "cats and dogs", "a=b", ""] {
            let mut payload = payload();
            payload.source = source.into();
            assert!(Filter::of_source(source).matches(&payload));
            assert!(!Filter::of_source("other").matches(&payload));
        }
    }

    #[test]
    fn both_must_hold() {
        let both = |a: &str, b: &str| a.parse::<Filter>().unwrap().and(b.parse().unwrap());
        assert!(both("label=3", "width>100").matches(&payload()));
        assert!(!both("label=3", "width>1000").matches(&payload()));
    }

    #[test]
    fn several_conditions_are_read_at_once() {
        let passes = |text: &str| text.parse::<Filter>().unwrap().matches(&payload());
        assert!(passes("label=3 and width>=640"));
        assert!(passes("label = 3  and  width >= 640 and city=Basel"));
        assert!(!passes("label=3 and width>640"));
        assert!(!passes("label=4 and width>=640"));
        // The letters alone join nothing.
        for text in ["label=and", "label=android and key=and", "label=sandy"] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, complaint) in [
            ("", "compares nothing"),
            ("label", "compares nothing"),
            ("label!3", "lone `!`"),
            ("label=", "lacks the value"),
            ("=3", "lacks a field name"),
            ("a b=3", "lacks a field name"),
            ("label<3", "orders text"),
            ("width=wide", "compares a number"),
            ("width>NaN", "compares a number"),
            ("year>soon", "compares a number"),
            ("label=3 and", "a condition is missing"),
            ("label=3 and ", "compares nothing"),
            ("label=3 and wide", "`wide` compares nothing"),
            ("key=cats and dogs", "no value can contain ` and `"),
            (" and label=3", "compares nothing"),
        ] {
            let message = text.parse::<Filter>().unwrap_err().to_string();
            assert!(message.contains(complaint), "{text}: {message}");
        }
    }

    #[test]
    fn filters_are_bounded() {
        let conditions = |count| vec!["label=3"; count].join(AND);
        assert!(conditions(Filter::MAX_CONDITIONS).parse::<Filter>().is_ok());
        let value = |bytes: usize| format!("label={}", "x".repeat(bytes - "label=".len()));
        assert!(value(Filter::MAX_BYTES).parse::<Filter>().is_ok());
        for (text, complaint) in [
            (conditions(Filter::MAX_CONDITIONS + 1), "33 conditions"),
            (conditions(100_000), "bytes long"),
            (value(Filter::MAX_BYTES + 1), "4097 bytes long"),
            ("ü".repeat(2_000), "compares nothing"),
        ] {
            let message = text.parse::<Filter>().unwrap_err().to_string();
            assert!(message.contains(complaint), "{message}");
            assert!(message.len() < 400, "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|((a|label)(=|!=|>)(1|and| |and )( |and){0,3}){1,3}") {
            if let Ok(filter) = text.parse::<Filter>() {
                // What was understood can be written and read again.
                proptest::prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
            }
        }
    }
}
