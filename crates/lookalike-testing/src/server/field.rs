//! Conditions on one field of a payload.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{DatetimeRange, FieldCondition, Range, Timestamp, ValuesCount};
use serde_json::Value;
use tonic::Status;

use super::error;
use super::json::Object;
use super::path::Path;

#[derive(Clone, Debug)]
pub(super) struct Field {
    path: Path,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// Any of the values, or of the elements where the value is an array, passes one of these.
    Any {
        matches: Option<MatchValue>,
        range: Option<Range>,
        times: Option<DatetimeRange>,
    },
    Count(ValuesCount),
    Empty(bool),
    Null(bool),
}

impl Field {
    pub fn read(condition: FieldCondition) -> Result<Self, Status> {
        if condition.geo_bounding_box.is_some()
            || condition.geo_radius.is_some()
            || condition.geo_polygon.is_some()
        {
            return Err(error::unsupported("places"));
        }
        let matches = match condition.r#match {
            None => None,
            Some(matches) => match matches.match_value {
                None => return Err(Status::invalid_argument("Malformed Match condition")),
                Some(MatchValue::Prefix(_) | MatchValue::Substring(_)) => {
                    return Err(error::unsupported("matching of parts of texts"));
                }
                some => some,
            },
        };
        let test = if let Some(count) = condition.values_count {
            Test::Count(count)
        } else if let Some(empty) = condition.is_empty {
            Test::Empty(empty)
        } else if let Some(null) = condition.is_null {
            Test::Null(null)
        } else {
            Test::Any {
                matches,
                range: condition.range,
                times: condition.datetime_range,
            }
        };
        Ok(Self {
            path: Path::parse(&condition.key)?,
            test,
        })
    }

    pub fn holds(&self, payload: &Object) -> bool {
        let values = self.path.find(payload);
        if values.is_empty() {
            return match self.test {
                Test::Empty(empty) => empty,
                Test::Null(null) => !null,
                _ => false,
            };
        }
        values.into_iter().any(|value| self.test.holds(value))
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Any {
                matches,
                range,
                times,
            } => {
                let holds = |value: &Value| {
                    matches.as_ref().is_some_and(|m| is_match(m, value))
                        || range.as_ref().is_some_and(|range| in_range(range, value))
                        || times.as_ref().is_some_and(|times| in_times(times, value))
                };
                match value {
                    Value::Array(values) => values.iter().any(holds),
                    _ => holds(value),
                }
            }
            Self::Count(count) => {
                let number = match value {
                    Value::Null => 0,
                    Value::Array(values) => values.len() as u64,
                    _ => 1,
                };
                count.lt.is_none_or(|bound| number < bound)
                    && count.gt.is_none_or(|bound| number > bound)
                    && count.lte.is_none_or(|bound| number <= bound)
                    && count.gte.is_none_or(|bound| number >= bound)
            }
            Self::Empty(wanted) => {
                let empty = match value {
                    Value::Null => true,
                    Value::Array(values) => values.is_empty(),
                    _ => false,
                };
                empty == *wanted
            }
            Self::Null(wanted) => {
                let null = match value {
                    Value::Null => true,
                    Value::Array(values) => values.iter().any(Value::is_null),
                    _ => false,
                };
                null == *wanted
            }
        }
    }
}

fn in_range(range: &Range, value: &Value) -> bool {
    value.as_f64().is_some_and(|number| {
        range.lt.is_none_or(|bound| number < bound)
            && range.gt.is_none_or(|bound| number > bound)
            && range.lte.is_none_or(|bound| number <= bound)
            && range.gte.is_none_or(|bound| number >= bound)
    })
}

/// Times are texts; those without a time zone are in UTC.
fn in_times(range: &DatetimeRange, value: &Value) -> bool {
    let read = |text: &str| text.parse::<Timestamp>().ok();
    let time = value
        .as_str()
        .and_then(|text| read(text).or_else(|| read(&format!("{text}Z"))));
    time.is_some_and(|time| {
        let order =
            |bound: &Timestamp| (time.seconds, time.nanos).cmp(&(bound.seconds, bound.nanos));
        range.lt.is_none_or(|bound| order(&bound).is_lt())
            && range.gt.is_none_or(|bound| order(&bound).is_gt())
            && range.lte.is_none_or(|bound| order(&bound).is_le())
            && range.gte.is_none_or(|bound| order(&bound).is_ge())
    })
}

fn is_match(matches: &MatchValue, value: &Value) -> bool {
    match matches {
        MatchValue::Keyword(text) => value.as_str() == Some(text),
        MatchValue::Integer(number) => value.as_i64() == Some(*number),
        MatchValue::Boolean(yes) => value.as_bool() == Some(*yes),
        // Without an index for full text, Qdrant looks for the text as it stands.
        MatchValue::Text(text) | MatchValue::Phrase(text) => {
            value.as_str().is_some_and(|stored| stored.contains(text))
        }
        MatchValue::TextAny(text) => value
            .as_str()
            .is_some_and(|stored| text.split_whitespace().any(|word| stored.contains(word))),
        MatchValue::Keywords(any) => value
            .as_str()
            .is_some_and(|stored| any.strings.iter().any(|text| text == stored)),
        MatchValue::Integers(any) => value
            .as_i64()
            .is_some_and(|stored| any.integers.contains(&stored)),
        // What is of another kind is not one of those; only null is nothing at all.
        MatchValue::ExceptKeywords(except) => match value {
            Value::Null => false,
            Value::String(stored) => !except.strings.contains(stored),
            _ => true,
        },
        MatchValue::ExceptIntegers(except) => match value {
            Value::Null => false,
            _ => !value
                .as_i64()
                .is_some_and(|stored| except.integers.contains(&stored)),
        },
        // Refused when they were read.
        MatchValue::Prefix(_) | MatchValue::Substring(_) => false,
    }
}
