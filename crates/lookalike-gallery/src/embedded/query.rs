//! Our filters in the engine's words.

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition as EngineCondition, FieldCondition, Filter as EngineFilter, HasIdCondition, JsonPath,
    Match, MatchValue, PointId, Range, ValueVariants,
};
use uuid::Uuid;

use crate::Filter;
use crate::filter::{Comparison, Condition, Field, forms};

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
            Comparison::NotEqual => must_not.push(equals(condition)),
            Comparison::Equal => must.push(equals(condition)),
            comparison => must.push(range(condition, comparison)),
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

fn equals(condition: &Condition) -> EngineCondition {
    let text = || {
        let mut each: Vec<_> = forms(&condition.value)
            .into_iter()
            .map(|form| value(condition, ValueVariants::String(form)))
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
            range(condition, Comparison::Equal)
        }
        Field::Source | Field::Key | Field::Label | Field::Blake3 | Field::Location => text(),
        Field::Extra(_) => {
            // An extra field's type is the data's business, so each that the value could be is
            // tried.
            let mut should = vec![text()];
            if condition.number.is_some() {
                should.push(range(condition, Comparison::Equal));
            }
            if let Some(truth) = condition.truth() {
                should.push(value(condition, ValueVariants::Bool(truth)));
            }
            EngineCondition::Filter(EngineFilter {
                should: Some(should),
                ..EngineFilter::default()
            })
        }
    }
}

fn value(condition: &Condition, value: ValueVariants) -> EngineCondition {
    EngineCondition::Field(FieldCondition::new_match(
        json_path(&condition.field.path()),
        Match::Value(MatchValue { value }),
    ))
}

fn range(condition: &Condition, comparison: Comparison) -> EngineCondition {
    // A condition that needs a number was refused without one; no number is equal to NaN.
    let number = Some(OrderedFloat(condition.number.unwrap_or(f64::NAN)));
    let none = Range {
        lt: None,
        gt: None,
        gte: None,
        lte: None,
    };
    let range = match comparison {
        Comparison::Less => Range { lt: number, ..none },
        Comparison::LessOrEqual => Range {
            lte: number,
            ..none
        },
        Comparison::Greater => Range { gt: number, ..none },
        Comparison::GreaterOrEqual => Range {
            gte: number,
            ..none
        },
        Comparison::Equal | Comparison::NotEqual => Range {
            gte: number,
            lte: number,
            ..none
        },
    };
    EngineCondition::Field(FieldCondition::new_range(
        json_path(&condition.field.path()),
        range,
    ))
}
