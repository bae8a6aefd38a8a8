//! What a field says of each point of a map.

use std::collections::HashMap;

use lookalike_gallery::{Gallery, Points};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Map;
use crate::Error;
use crate::contents::info_to_read;

/// The fact that is a time.
const TAKEN: &str = "taken";

/// What can be in order, so that some of it is a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// Numbers.
    Number,
    /// Times as texts, `2024-06-01T12:30:00`, which are in order as texts are.
    Time,
}

/// What a field says of each point of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// What all of the values are.
    pub kind: ValueKind,
    /// For each point of the map its value, a number or a text; none where it has none.
    pub of: Vec<Option<Value>>,
}

impl Map {
    /// Of each point what a field of its payload says, as a filter names it; of lists the first
    /// element counts. Where no point has the field, its values are numbers.
    ///
    /// # Errors
    ///
    /// When the values are neither all numbers nor the times of the fact `taken`, the only ones
    /// that filters compare; when the gallery cannot be read, or is on a cluster and has too many
    /// points to be.
    pub fn values(&self, gallery: &dyn Gallery, field: &str) -> Result<Values, Error> {
        let of = self.read(gallery, field)?;
        let kind = kind_of(&of).filter(|kind| *kind == ValueKind::Number || field == TAKEN);
        let kind = kind.ok_or_else(|| {
            Error::Unusable(format!(
                "the values of {field} have no order: choose a field of numbers, or {TAKEN}"
            ))
        })?;
        Ok(Values { kind, of })
    }

    /// Of each point what a field says.
    pub(super) fn read(
        &self,
        gallery: &dyn Gallery,
        field: &str,
    ) -> Result<Vec<Option<Value>>, Error> {
        info_to_read(gallery, None)?;
        let mut values: HashMap<Uuid, Value> = HashMap::new();
        for point in Points::new(gallery, None) {
            let point = point?;
            let value = match point.payload.value(field) {
                Some(Value::Array(mut all)) if !all.is_empty() => Some(all.swap_remove(0)),
                value => value,
            };
            let value = value.filter(|value| !value.is_null() && !value.is_object());
            values.extend(value.map(|value| (point.id, value)));
        }
        let values = self.points.iter().map(|point| values.remove(&point.id));
        Ok(values.collect())
    }
}

fn kind_of(values: &[Option<Value>]) -> Option<ValueKind> {
    let there = || values.iter().flatten();
    if there().all(Value::is_number) {
        return Some(ValueKind::Number);
    }
    let are_times = there().all(|value| value.as_str().is_some_and(is_time));
    are_times.then_some(ValueKind::Time)
}

/// Whether a text is a time as facts have it, `2024-06-01T12:30:00`.
pub(super) fn is_time(text: &str) -> bool {
    let pattern = b"0000-00-00T00:00:00";
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern)
            .all(|(letter, pattern)| match pattern {
                b'0' => letter.is_ascii_digit(),
                pattern => letter == *pattern,
            })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_has_an_order_has_a_kind() {
        let kind = |values: &[Value]| {
            let mut values: Vec<_> = values.iter().cloned().map(Some).collect();
            values.push(None);
            kind_of(&values)
        };
        assert_eq!(kind(&[json!(1), json!(0.5)]), Some(ValueKind::Number));
        assert_eq!(kind(&[]), Some(ValueKind::Number));
        let time = json!("2024-06-01T12:30:00");
        assert_eq!(kind(std::slice::from_ref(&time)), Some(ValueKind::Time));
        assert_eq!(kind(&[time, json!(3)]), None);
        assert_eq!(kind(&[json!("2024-06-01")]), None);
        assert_eq!(kind(&[json!(true)]), None);
    }
}
