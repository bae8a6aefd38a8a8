//! Our filters in the cluster's words.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition as ClusterCondition, FieldCondition, Filter as ClusterFilter, HasIdCondition,
    IsEmptyCondition, Match, PointId, Range, RepeatedStrings, condition::ConditionOneOf,
};
use uuid::Uuid;

use super::points::THUMBNAIL;
use crate::Filter;
use crate::filter::{Comparison, Condition, Field, forms};

/// The filter that a payload passes exactly when [`Filter::matches`] says so.
pub(super) fn filter(filter: &Filter) -> ClusterFilter {
    let mut all = ClusterFilter::default();
    for condition in filter.conditions() {
        match condition.comparison {
            Comparison::NotEqual => all.must_not.push(equals(condition)),
            Comparison::Equal => all.must.push(equals(condition)),
            comparison => all.must.push(range(condition, comparison)),
        }
    }
    all
}

/// The filter that points pass which the given one admits and which are none of `exclude`.
pub(super) fn admitted(filter: Option<&Filter>, exclude: &[Uuid]) -> Option<ClusterFilter> {
    let mut admitted = filter.map(self::filter);
    if !exclude.is_empty() {
        let has_id = exclude.iter().copied().map(PointId::from).collect();
        admitted
            .get_or_insert_default()
            .must_not
            .push(one(ConditionOneOf::HasId(HasIdCondition { has_id })));
    }
    admitted
}

/// The filter that points of these contents pass.
pub(super) fn with_contents(hashes: &[&str]) -> ClusterFilter {
    let strings = hashes.iter().map(|hash| (*hash).to_owned()).collect();
    let any = MatchValue::Keywords(RepeatedStrings { strings });
    ClusterFilter {
        must: vec![matches("blake3".into(), any)],
        ..ClusterFilter::default()
    }
}

/// The filter that points of these contents pass which have a thumbnail.
pub(super) fn with_thumbnails(hashes: &[&str]) -> ClusterFilter {
    let none = IsEmptyCondition {
        key: THUMBNAIL.to_owned(),
    };
    ClusterFilter {
        must_not: vec![one(ConditionOneOf::IsEmpty(none))],
        ..with_contents(hashes)
    }
}

fn equals(condition: &Condition) -> ClusterCondition {
    let text = || {
        let mut strings = forms(&condition.value);
        let text = match strings.len() {
            1 => MatchValue::Keyword(strings.remove(0)),
            _ => MatchValue::Keywords(RepeatedStrings { strings }),
        };
        matches(condition.field.path(), text)
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
                let truth = MatchValue::Boolean(truth);
                should.push(matches(condition.field.path(), truth));
            }
            one(ConditionOneOf::Filter(ClusterFilter {
                should,
                ..ClusterFilter::default()
            }))
        }
    }
}

fn matches(key: String, value: MatchValue) -> ClusterCondition {
    one(ConditionOneOf::Field(FieldCondition {
        key,
        r#match: Some(Match {
            match_value: Some(value),
        }),
        ..FieldCondition::default()
    }))
}

fn range(condition: &Condition, comparison: Comparison) -> ClusterCondition {
    // A condition that needs a number was refused without one; no number is equal to NaN.
    let number = Some(condition.number.unwrap_or(f64::NAN));
    let mut range = Range::default();
    match comparison {
        Comparison::Less => range.lt = number,
        Comparison::LessOrEqual => range.lte = number,
        Comparison::Greater => range.gt = number,
        Comparison::GreaterOrEqual => range.gte = number,
        Comparison::Equal | Comparison::NotEqual => (range.gte, range.lte) = (number, number),
    }
    one(ConditionOneOf::Field(FieldCondition {
        key: condition.field.path(),
        range: Some(range),
        ..FieldCondition::default()
    }))
}

fn one(condition: ConditionOneOf) -> ClusterCondition {
    ClusterCondition {
        condition_one_of: Some(condition),
    }
}
