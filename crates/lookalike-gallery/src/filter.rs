use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::{GalleryError, Payload};

/// Between two conditions.
const AND: &str = " and ";

/// Conditions on payloads that must all hold: `label=3`, `width>=100`, `label="Salt and Pepper" and
/// key!=7`.
///
/// In writing, conditions are joined with ` and `. A value may stand in double quotes, in which `\`
/// makes the letter behind it stand for itself; one that has ` and ` in it, or begins with a quote
/// or a space, must. [`Filter::condition`] reads a single condition, which needs no quotes, and
/// [`Filter::and`] joins filters. What is displayed can be read again.
///
/// `source`, `key`, `label`, `blake3` and `location` are compared as text, with `=` and `!=`;
/// `width`, `height`, `bytes` and `modified` as numbers (of 53 bits), with `=`, `!=`, `<`, `<=`,
/// `>` and `>=`. Any other name means an extra field of the payload: `=` and `!=` compare its text,
/// number or truth value, the others numbers. `!=` is what `=` is not: it also holds where the
/// field is missing. Text in another Unicode normal form is the same text.
///
/// ```
/// use lookalike_gallery::Filter;
///
/// let filter: Filter = "label=3".parse()?;
/// let filter = filter.and("width>=100".parse()?)?;
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
    /// The most conditions that a filter may have: every image may have to be compared with each.
    pub const MAX_CONDITIONS: usize = 32;

    fn check_length(text: &str) -> Result<(), GalleryError> {
        match text.len() > Self::MAX_BYTES {
            true => Err(GalleryError::BadRequest(format!(
                "the filter is {} bytes long; write at most {}",
                text.len(),
                Self::MAX_BYTES
            ))),
            false => Ok(()),
        }
    }

    /// Images of this source, whatever its name.
    pub fn of_source(source: &str) -> Filter {
        Self::equal(Field::Source, source)
    }

    /// Images with this key, whatever their source.
    pub fn with_key(key: &str) -> Filter {
        Self::equal(Field::Key, key)
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

    /// Reads one condition, whose value may have ` and ` in it without quotes: `label=Salt and
    /// Pepper`. With quotes it is read as every filter is.
    ///
    /// # Errors
    ///
    /// [`GalleryError::BadRequest`], also for text that reads as several conditions.
    pub fn condition(text: &str) -> Result<Filter, GalleryError> {
        Self::check_length(text)?;
        if text.contains('"') {
            return text.parse();
        }
        let mut parts = text.split(AND);
        let first = parts.next().unwrap_or_default();
        let names_a_field = |part: &str| {
            let sign = part.find(['=', '!', '<', '>']);
            sign.is_some_and(|sign| Field::is_name(part[..sign].trim()))
        };
        if let Some(second) = parts.find(|part| names_a_field(part)) {
            return Err(GalleryError::BadRequest(format!(
                "the filter `{}` reads as several conditions; give `{}` and `{}` each on its own, or put the value in \
                 double quotes",
                excerpt(text),
                excerpt(first),
                excerpt(second)
            )));
        }
        Ok(Filter {
            conditions: vec![Condition::read(text, false)?.0],
        })
    }

    /// Both filters hold.
    ///
    /// # Errors
    ///
    /// [`GalleryError::BadRequest`] if they have more than
    /// [`MAX_CONDITIONS`](Filter::MAX_CONDITIONS) together.
    pub fn and(mut self, other: Filter) -> Result<Filter, GalleryError> {
        self.conditions.extend(other.conditions);
        Self::check_count(self.conditions.len())?;
        Ok(self)
    }

    /// All of these filters hold; none where there are none.
    ///
    /// # Errors
    ///
    /// As [`and`](Filter::and).
    pub fn all(filters: impl IntoIterator<Item = Filter>) -> Result<Option<Filter>, GalleryError> {
        let mut filters = filters.into_iter();
        let first = filters.next();
        first
            .map(|first| filters.try_fold(first, Filter::and))
            .transpose()
    }

    fn check_count(conditions: usize) -> Result<(), GalleryError> {
        match conditions > Self::MAX_CONDITIONS {
            true => Err(GalleryError::BadRequest(format!(
                "the filter has more than {0} conditions; write at most {0}",
                Self::MAX_CONDITIONS
            ))),
            false => Ok(()),
        }
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
                quoted(&condition.value)
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
        Self::check_length(text)?;
        let mut conditions = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            Self::check_count(conditions.len() + 1)?;
            let (condition, behind) = Condition::read(text, true)?;
            conditions.push(condition);
            rest = behind;
        }
        Ok(Filter { conditions })
    }
}

/// A value as it must be written to be read again.
fn quoted(value: &str) -> Cow<'_, str> {
    let plain = !value.is_empty()
        && !value.starts_with('"')
        && value == value.trim()
        && !value.contains(AND)
        && !value.ends_with(AND.trim_end());
    if plain {
        return value.into();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted.into()
}

/// A value in quotes from its first letter on: what it says, and what follows it. None where the
/// quotes do not end.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
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

impl Condition {
    /// Reads the first condition of a text: it, and what follows the ` and ` behind it. A text that
    /// is not `joined` is one condition whatever is in it.
    fn read(text: &str, joined: bool) -> Result<(Condition, Option<&str>), GalleryError> {
        fn divided(text: &str) -> (&str, Option<&str>) {
            match text.split_once(AND) {
                Some((first, behind)) => (first, Some(behind)),
                None => (text, None),
            }
        }
        let split: fn(&str) -> (&str, Option<&str>) = match joined {
            true => divided,
            false => |text| (text, None),
        };
        let bad = |why: &str| {
            GalleryError::BadRequest(format!(
                "the filter `{}` {why}; write for example label=3, label=3 and width>=100, or \
                 label=\"Salt and Pepper\": a value that has ` and ` in it stands in double quotes",
                excerpt(split(text).0)
            ))
        };
        let at = text
            .find(['=', '!', '<', '>'])
            .filter(|&at| !joined || !text[..at].contains(AND))
            .ok_or_else(|| bad("compares nothing: it has none of = != < <= > >="))?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) = Comparison::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| bad("has a lone `!`"))?;
        let value = &rest[sign.len()..];
        if value.starts_with('=') {
            return Err(bad("has one `=` too many: a single one compares"));
        }
        let (value, behind) = match value.trim_start().strip_prefix('"') {
            Some(inside) => {
                let (value, behind) =
                    unquoted(inside).ok_or_else(|| bad("has quotes that do not end"))?;
                let behind = match behind.trim() {
                    "" => None,
                    _ => Some(
                        behind
                            .trim_start()
                            .strip_prefix(AND.trim_start())
                            .filter(|_| behind.starts_with(char::is_whitespace))
                            .ok_or_else(|| bad("has something behind the quotes"))?,
                    ),
                };
                (value, behind)
            }
            None => {
                let (value, behind) = split(value);
                let value = value.trim();
                if value.is_empty() {
                    return Err(bad("lacks the value to compare with"));
                }
                // Joined with another condition it would be read as two joints.
                if joined && value.ends_with(AND.trim_end()) {
                    return Err(bad("ends with `and`: a condition is missing after it"));
                }
                (value.to_owned(), behind)
            }
        };
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
        let condition = Condition {
            field,
            comparison,
            value,
            number,
        };
        Ok((condition, behind))
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
    fn values_in_quotes_may_be_anything() {
        for (text, label) in [
            (r#"label="Salt and Pepper""#, "Salt and Pepper"),
            (r#"label = "a=b"  and width>=640"#, "a=b"),
            (
                r#"label="say \"hi\" \\ and go" and key!=x"#,
                r#"say "hi" \ and go"#,
            ),
            (r#"label="""#, ""),
            (r#"label=" spaced ""#, " spaced "),
            (r#"label=5" disk"#, r#"5" disk"#),
        ] {
            let payload = Payload {
                label: Some(label.into()),
                ..payload()
            };
            let filter: Filter = text.parse().unwrap();
            assert!(filter.matches(&payload), "{text}");
            let again: Filter = filter.to_string().parse().unwrap();
            assert_eq!(again, filter, "{text} became {filter}");
        }
        let source = Filter::of_source("cats and dogs");
        assert_eq!(source.to_string(), r#"source="cats and dogs""#);
        assert_eq!(source.to_string().parse::<Filter>().unwrap(), source);
    }

    #[test]
    fn a_condition_alone_needs_no_quotes() {
        let quoted: Filter = r#"label="Salt and Pepper""#.parse().unwrap();
        assert_eq!(Filter::condition("label=Salt and Pepper").unwrap(), quoted);
        let written = quoted.to_string();
        assert_eq!(Filter::condition(&written).unwrap(), quoted);
        let ends = Filter::condition("label=rock and").unwrap();
        assert_eq!(ends.to_string().parse::<Filter>().unwrap(), ends);
        let error = Filter::condition("label=3 and width>=100").unwrap_err();
        assert!(error.to_string().contains("several conditions"), "{error}");
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

    #[test]
    fn both_must_hold() {
        let both = |a: &str, b: &str| {
            a.parse::<Filter>()
                .unwrap()
                .and(b.parse().unwrap())
                .unwrap()
        };
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
            ("key=cats and dogs", "in double quotes"),
            ("label=\"a", "quotes that do not end"),
            ("label=\"a\\", "quotes that do not end"),
            ("label=\"a\"b", "something behind the quotes"),
            ("label=\"a\"and key=b", "something behind the quotes"),
            ("label=\"a\" and ", "compares nothing"),
            ("width=\"\"", "compares a number"),
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
            (
                conditions(Filter::MAX_CONDITIONS + 1),
                "more than 32 conditions",
            ),
            (conditions(100_000), "bytes long"),
            (value(Filter::MAX_BYTES + 1), "4097 bytes long"),
            ("ü".repeat(2_000), "compares nothing"),
        ] {
            let message = text.parse::<Filter>().unwrap_err().to_string();
            assert!(message.contains(complaint), "{message}");
            assert!(message.len() < 400, "{message}");
        }
        let filter = |count| conditions(count).parse::<Filter>().unwrap();
        let most = Filter::MAX_CONDITIONS;
        assert!(filter(most - 1).and(filter(1)).is_ok());
        for joined in [
            filter(most).and(filter(1)).map(Some),
            Filter::all(vec![filter(1); most + 1]),
        ] {
            let message = joined.unwrap_err().to_string();
            assert!(message.contains("more than 32 conditions"), "{message}");
        }
        assert_eq!(Filter::all([]).unwrap(), None);
        assert_eq!(
            Filter::all([filter(2), filter(3)]).unwrap(),
            Some(filter(5))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|((a|label)(=|!=|>)(1|and| |and |\"|\\\\)( |and|\"){0,3}){1,3}") {
            if let Ok(filter) = text.parse::<Filter>() {
                // What was understood can be written and read again.
                proptest::prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
            }
        }
    }
}
