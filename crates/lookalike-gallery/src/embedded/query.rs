//! Our filters in the engine's words.

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition as EngineCondition, DateTimeWrapper, FieldCondition, Filter as EngineFilter,
    HasIdCondition, IsEmptyCondition, JsonPath, Match, MatchValue, PointId, Range, ValueVariants,
};
use uuid::Uuid;

use crate::Filter;
use crate::filter::{Comparison, Condition, Dates, Field, forms};

/// A field's name as the engine wants it.
pub(super) fn json_path(path: &str) -> JsonPath {
    path.parse()
        .expect("field names are plain or quoted, so they are JSON paths")
}

/// The filter that a payload passes exactly when [`Filter::matches`] says so.
pub(super) fn filter(filter: &Filter) -> EngineFilter {
    let mut must = Vec::new();
    let mut must_not = Vec::new();
    for condition in filter.conditions() {
        match condition.comparison {
            Comparison::NotEqual => must_not.push(holds(condition, &equals)),
            Comparison::Equal => must.push(holds(condition, &equals)),
            comparison => must.push(holds(condition, &|condition, path| {
                range(condition, path, comparison)
            })),
        }
    }
    EngineFilter {
        must: Some(must),
        must_not: Some(must_not),
        ..EngineFilter::default()
    }
}

/// The filter that points pass which the given one admits and which are none of `exclude`.
pub(super) fn admitted(filter: Option<&Filter>, exclude: &[Uuid]) -> Option<EngineFilter> {
    let mut admitted = filter.map(self::filter);
    if !exclude.is_empty() {
        let ids: HasIdCondition = exclude.iter().copied().map(PointId::Uuid).collect();
        admitted
            .get_or_insert_default()
            .must_not
            .get_or_insert_default()
            .push(EngineCondition::HasId(ids));
    }
    admitted
}

/// The filter that points of this content pass.
pub(super) fn with_content(blake3: &str) -> EngineFilter {
    EngineFilter::new_must(EngineCondition::Field(FieldCondition::new_match(
        json_path("blake3"),
        Match::Value(MatchValue {
            value: ValueVariants::String(blake3.to_string()),
        }),
    )))
}

/// The filter that only these points pass.
pub(super) fn with_ids(ids: &[Uuid]) -> EngineFilter {
    let ids: HasIdCondition = ids.iter().copied().map(PointId::Uuid).collect();
    EngineFilter::new_must(EngineCondition::HasId(ids))
}

/// What `compare` makes of a condition and a field's place, for all places that count.
fn holds(
    condition: &Condition,
    compare: &dyn Fn(&Condition, &str) -> EngineCondition,
) -> EngineCondition {
    let path = condition.field.path();
    let own = match &condition.dates {
        Some(dates) => within(&path, condition.comparison, dates),
        None => compare(condition, &path),
    };
    let Some(before) = condition.field.path_before() else {
        return own;
    };
    let is_empty = EngineCondition::IsEmpty(IsEmptyCondition::from(json_path(&before)));
    let otherwise = EngineFilter {
        must: Some(vec![is_empty, own]),
        ..EngineFilter::default()
    };
    let mut should = vec![EngineCondition::Filter(otherwise)];
    // The engine takes all numbers to be below NaN, which stands for none.
    if condition.comparison.is_equality() || condition.number.is_some() {
        should.push(compare(condition, &before));
    }
    EngineCondition::Filter(EngineFilter {
        should: Some(should),
        ..EngineFilter::default()
    })
}

/// Times that compare so with a date; the engine reads them as UTC, on both sides.
fn within(path: &str, comparison: Comparison, dates: &Dates) -> EngineCondition {
    let time = |text: &str| {
        let time: Result<DateTimeWrapper, _> = format!("{text}Z").parse();
        Some(time.expect("dates were read"))
    };
    let range = bounds(comparison, time(&dates.first), time(&dates.last));
    EngineCondition::Field(FieldCondition::new_datetime_range(json_path(path), range))
}

fn equals(condition: &Condition, path: &str) -> EngineCondition {
    let text = || {
        let mut each: Vec<_> = forms(&condition.value)
            .into_iter()
            .map(|form| value(path, ValueVariants::String(form)))
            .collect();
        match each.len() {
            1 => each.remove(0),
            _ => EngineCondition::Filter(EngineFilter {
                should: Some(each),
                ..EngineFilter::default()
            }),
        }
    };
    match condition.field {
        Field::Width | Field::Height | Field::Bytes | Field::Modified => {
            range(condition, path, Comparison::Equal)
        }
        Field::Source | Field::Key | Field::Label | Field::Blake3 | Field::Location => text(),
        Field::Extra(_) | Field::Fact(_) => {
            // An extra field's type is the data's business, so each that the value could be is
            // tried.
            let mut should = vec![text()];
            if condition.number.is_some() {
                should.push(range(condition, path, Comparison::Equal));
            }
            if let Some(truth) = condition.truth() {
                should.push(value(path, ValueVariants::Bool(truth)));
            }
            EngineCondition::Filter(EngineFilter {
                should: Some(should),
                ..EngineFilter::default()
            })
        }
    }
}

fn value(path: &str, value: ValueVariants) -> EngineCondition {
    EngineCondition::Field(FieldCondition::new_match(
        json_path(path),
        Match::Value(MatchValue { value }),
    ))
}

fn range(condition: &Condition, path: &str, comparison: Comparison) -> EngineCondition {
    // A condition that needs a number was refused without one; no number is equal to NaN.
    let number = Some(OrderedFloat(condition.number.unwrap_or(f64::NAN)));
    let range = bounds(comparison, number, number);
    EngineCondition::Field(FieldCondition::new_range(json_path(path), range))
}

/// What compares so with all from the first to the last of equals.
fn bounds<T>(comparison: Comparison, first: Option<T>, last: Option<T>) -> Range<T> {
    let none = Range {
        lt: None,
        gt: None,
        gte: None,
        lte: None,
    };
    match comparison {
        Comparison::Less => Range { lt: first, ..none },
        Comparison::LessOrEqual => Range { lte: last, ..none },
        Comparison::Greater => Range { gt: last, ..none },
        Comparison::GreaterOrEqual => Range { gte: first, ..none },
        Comparison::Equal | Comparison::NotEqual => Range {
            gte: first,
            lte: last,
            ..none
        },
    }
}
