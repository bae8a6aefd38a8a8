//! Filters as text.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{Comparison, Condition, Dates, Field, Filter};
use crate::GalleryError;

/// Between two conditions.
const AND: &str = " and ";

impl Filter {
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
    /// [`GalleryError::BadRequest`] names the first condition that cannot be understood, and why;
    /// or says that the text is longer than [`MAX_BYTES`](Filter::MAX_BYTES), or has more than
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
        let is_text = !field.is_number() && !matches!(field, Field::Extra(_) | Field::Fact(_));
        if is_text && !comparison.is_equality() {
            return Err(bad("orders text; only = and != compare this field"));
        }
        let dates = match field.has_dates() {
            true => Dates::read(&value),
            false => None,
        };
        if field.has_dates() && dates.is_none() && number.is_none() && !comparison.is_equality() {
            return Err(bad(
                "compares a date with something that is none (dates are written 2024, 2024-06, \
                 2024-06-01 or 2024-06-01T12:30)",
            ));
        }
        let is_comparable = number.is_some() || dates.is_some();
        if !is_comparable && (field.is_number() || !comparison.is_equality()) {
            return Err(bad("compares a number with something that is none"));
        }
        let condition = Condition {
            field,
            comparison,
            value,
            number,
            dates,
        };
        Ok((condition, behind))
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;
    use crate::filter::tests::payload;

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
            ("taken>soon", "compares a date"),
            ("taken<2024-02-30", "compares a date"),
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
