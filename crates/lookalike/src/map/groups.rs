//! The points of a map in groups by any field, to be coloured by it.

use std::cmp::Reverse;
use std::collections::HashMap;

use lookalike_gallery::Gallery;
use serde_json::Value;

use super::Map;
use super::values::is_time;
use crate::Error;

/// Groups that are told apart, at most: more colours are not.
pub const MAX_GROUPS: usize = 20;
/// Groups that many different numbers are divided into, of about as many points each.
const RANGES: usize = 8;

/// The points of a map in groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// What each is called: a value, a range of numbers (`0.2 to 0.35`), a year or a month.
    pub names: Vec<String>,
    /// Whether they are in an order that means something; otherwise the most frequent come first.
    pub ordered: bool,
    /// For each point of the map the index of its group; none where it has no value, or a rare one.
    pub of: Vec<Option<u32>>,
}

impl Map {
    /// Puts the map's points in groups by what a field of their payloads says, as a filter names
    /// it.
    ///
    /// Numbers of many values are divided into ranges, times into years or, within one, months. Of
    /// lists the first element counts.
    ///
    /// # Errors
    ///
    /// When the gallery cannot be read, or is on a cluster and has too many points to be.
    pub fn groups(&self, gallery: &dyn Gallery, field: &str) -> Result<Groups, Error> {
        Ok(grouped(self.read(gallery, field)?))
    }
}

fn grouped(values: Vec<Option<Value>>) -> Groups {
    let there = || values.iter().flatten();
    let distinct = |texts: Vec<String>| -> usize {
        let mut texts = texts;
        texts.sort_unstable();
        texts.dedup();
        texts.len()
    };
    let different = distinct(there().map(written).collect());
    if different > MAX_GROUPS && there().all(Value::is_number) {
        return in_ranges(&values);
    }
    let time = |value: &Value, length: usize| -> Option<String> {
        let text = value.as_str().filter(|text| is_time(text))?;
        Some(text[..length].to_owned())
    };
    if different > 0 && there().all(|value| time(value, 4).is_some()) {
        let years = distinct(there().filter_map(|value| time(value, 4)).collect());
        let length = if years > 1 { 4 } else { 7 };
        let name = |value: &Option<Value>| time(value.as_ref()?, length);
        return in_order(values.iter().map(name).collect(), true);
    }
    let all_numbers = there().all(Value::is_number);
    let names = values.iter().map(|value| value.as_ref().map(written));
    in_order(names.collect(), all_numbers)
}

/// A value as it is written in filters.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A group for each of the most frequent names.
fn in_order(of: Vec<Option<String>>, ordered: bool) -> Groups {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in of.iter().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_unstable_by_key(|&(name, count)| (Reverse(count), name));
    names.truncate(MAX_GROUPS);
    if ordered {
        // Numbers by their size, years by their letters.
        let number = |name: &str| name.parse::<f64>().unwrap_or(0.0);
        names.sort_by(|a, b| number(a.0).total_cmp(&number(b.0)).then(a.0.cmp(b.0)));
    }
    let places: HashMap<&str, u32> = names.iter().map(|&(name, _)| name).zip(0..).collect();
    Groups {
        names: names.iter().map(|&(name, _)| name.to_owned()).collect(),
        ordered,
        of: of
            .iter()
            .map(|name| places.get(name.as_deref()?).copied())
            .collect(),
    }
}

/// Ranges with about as many points each.
fn in_ranges(values: &[Option<Value>]) -> Groups {
    let numbers: Vec<Option<f64>> = values
        .iter()
        .map(|value| value.as_ref().and_then(Value::as_f64))
        .collect();
    let mut sorted: Vec<f64> = numbers.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    let mut starts: Vec<f64> = (0..RANGES)
        .map(|at| sorted[at * sorted.len() / RANGES])
        .collect();
    starts.dedup();
    let short = |value: f64| -> String {
        let size = if value == 0.0 { 1.0 } else { value.abs() };
        let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{value:.digits$}")
    };
    let ends = starts[1..].iter().copied().chain([last]);
    let names = starts.iter().zip(ends);
    let names = names.map(|(&start, end)| format!("{} to {}", short(start), short(end)));
    let range = |number: f64| starts.partition_point(|&start| start <= number) as u32 - 1;
    debug_assert_eq!(range(first), 0);
    Groups {
        names: names.collect(),
        ordered: true,
        of: numbers
            .into_iter()
            .map(|number| number.map(range))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_most_frequent_values_have_groups() {
        let mut values: Vec<Option<Value>> = vec![Some(json!("b")), None, Some(json!("a"))];
        values.extend(vec![Some(json!("b")); 2]);
        values.extend((0..30).map(|at| Some(json!(format!("rare {at:02}")))));
        let groups = grouped(values);
        assert_eq!((groups.names.len(), groups.ordered), (MAX_GROUPS, false));
        assert_eq!(groups.names[..3], ["b", "a", "rare 00"]);
        assert_eq!(groups.of[..3], [Some(0), None, Some(1)]);
        assert_eq!(groups.of.last(), Some(&None));
        let few = grouped(vec![Some(json!(10)), Some(json!(9)), Some(json!(10))]);
        assert_eq!(
            (few.names, few.of[0]),
            (vec!["9".into(), "10".into()], Some(1))
        );
        assert_eq!(grouped(vec![None, None]).of, [None, None]);
    }

    #[test]
    fn many_numbers_are_divided_and_times_belong_to_years() {
        let numbers = (0..800).map(|at| Some(json!(f64::from(at) / 100.0)));
        let groups = grouped(numbers.collect());
        assert_eq!((groups.names.len(), groups.ordered), (RANGES, true));
        assert_eq!(groups.names[7], "7.00 to 7.99");
        assert_eq!(
            [groups.of[0], groups.of[99], groups.of[100], groups.of[799]].map(Option::unwrap),
            [0, 0, 1, 7]
        );
        // Nearly all alike: fewer ranges.
        let mut zeros = vec![Some(json!(0)); 1000];
        zeros.extend((1..40).map(|at| Some(json!(at))));
        assert_eq!(grouped(zeros).names, ["0.00 to 39.0"]);
        let at = |text: &str| Some(json!(text));
        let years = grouped(vec![
            at("2024-06-01T12:30:00"),
            at("2023-01-01T00:00:00"),
            None,
        ]);
        assert_eq!(
            (years.names, years.ordered),
            (vec!["2023".into(), "2024".into()], true)
        );
        let months = grouped(vec![at("2024-06-01T12:30:00"), at("2024-01-01T00:00:00")]);
        assert_eq!(months.names, ["2024-01", "2024-06"]);
    }
}
