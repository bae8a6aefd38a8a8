//! Conditions on payloads: built and joined here, written and read in `text`, compared in
//! `condition`; `dates` reads dates.

mod condition;
mod dates;
mod text;

use crate::{GalleryError, Payload};

pub(crate) use condition::{Comparison, Condition, Field, forms, is_nothing};
pub(crate) use dates::Dates;

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
/// number or truth value, the others numbers. The names of [`Facts`](crate::Facts), as `sharpness`,
/// mean an extra field where the image has one of that name, and otherwise the fact. `taken` is
/// compared with dates, written as far as they matter: `taken>=2024-06-01`, `taken=2024-06`. `!=`
/// is what `=` is not: it also holds where the field is missing. Text in another Unicode normal
/// form is the same text.
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
                dates: None,
            }],
        }
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

    /// Names of the fields that it asks for, in the order of its conditions.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.conditions
            .iter()
            .map(|condition| condition.field.name())
    }

    /// Those of them that only images have whose source has such a column, or with which something
    /// of that name was kept.
    pub fn extra_fields(&self) -> impl Iterator<Item = &str> {
        self.conditions
            .iter()
            .filter_map(|condition| match &condition.field {
                Field::Extra(name) => Some(name.as_str()),
                _ => None,
            })
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
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Facts;

    pub fn payload() -> Payload {
        let extra = serde_json::json!({
            "year": 1999, "ratio": 0.5, "city": "Basel", "sharp": true, "tags": ["sea", "2"],
            "brightness": "dim"
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
            facts: Facts {
                brightness: Some(0.5),
                sharpness: Some(0.25),
                taken: Some("2024-06-01T12:30:05".into()),
                camera: Some("Leica".into()),
                latitude: Some(47.5),
                orientation: Some(6),
                ..Facts::default()
            },
            extra: extra.as_object().unwrap().clone(),
            ..Payload::default()
        }
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
    fn fields_are_told() {
        let filter: Filter = "label=3 and city=Basel and sharpness<0.5 and width>9"
            .parse()
            .unwrap();
        let all: Vec<&str> = filter.fields().collect();
        assert_eq!(all, ["label", "city", "sharpness", "width"]);
        assert!(filter.extra_fields().eq(["city"]));
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
    fn filters_are_bounded() {
        let conditions = |count| vec!["label=3"; count].join(" and ");
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
}
