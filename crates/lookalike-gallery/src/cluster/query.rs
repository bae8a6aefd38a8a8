//! Our filters in the cluster's words.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition as ClusterCondition, DatetimeRange, FieldCondition, Filter as ClusterFilter,
    HasIdCondition, IsEmptyCondition, Match, PointId, Range, RepeatedStrings, Timestamp,
    condition::ConditionOneOf,
};
use uuid::Uuid;

use super::points::THUMBNAIL;
use crate::Filter;
use crate::filter::{Comparison, Condition, Dates, Field, forms};

/// The filter that a payload passes exactly when [`Filter::matches`] says so.
pub(super) fn filter(filter: &Filter) -> ClusterFilter {
    let mut all = ClusterFilter::default();
    for condition in filter.conditions() {
        match condition.comparison {
            Comparison::NotEqual => all.must_not.push(holds(condition, &equals)),
            Comparison::Equal => all.must.push(holds(condition, &equals)),
            comparison => all.must.push(holds(condition, &|condition, path| {
                range(condition, path, comparison)
            })),
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

/// What `compare` makes of a condition and a field's place, for all places that count.
fn holds(
    condition: &Condition,
    compare: &dyn Fn(&Condition, &str) -> ClusterCondition,
) -> ClusterCondition {
    let path = condition.field.path();
    let own = match &condition.dates {
        Some(dates) => within(&path, condition.comparison, dates),
        None => compare(condition, &path),
    };
    let Some(before) = condition.field.path_before() else {
        return own;
    };
    // The cluster takes all numbers to be below NaN, which stands for none.
    let is_comparable = condition.comparison.is_equality() || condition.number.is_some();
    let first = is_comparable.then(|| compare(condition, &before));
    let is_empty = one(ConditionOneOf::IsEmpty(IsEmptyCondition { key: before }));
    let otherwise = one(ConditionOneOf::Filter(ClusterFilter {
        must: vec![is_empty, own],
        ..ClusterFilter::default()
    }));
    one(ConditionOneOf::Filter(ClusterFilter {
        should: first.into_iter().chain([otherwise]).collect(),
        ..ClusterFilter::default()
    }))
}

/// Times that compare so with a date; the cluster reads them as UTC, on both sides.
fn within(path: &str, comparison: Comparison, dates: &Dates) -> ClusterCondition {
    let time = |text: &str| {
        let time: Result<Timestamp, _> = format!("{text}Z").parse();
        Some(time.expect("dates were read"))
    };
    let (first, last) = (time(&dates.first), time(&dates.last));
    let mut range = DatetimeRange::default();
    match comparison {
        Comparison::Less => range.lt = first,
        Comparison::LessOrEqual => range.lte = last,
        Comparison::Greater => range.gt = last,
        Comparison::GreaterOrEqual => range.gte = first,
        Comparison::Equal | Comparison::NotEqual => (range.gte, range.lte) = (first, last),
    }
    one(ConditionOneOf::Field(FieldCondition {
        key: path.to_owned(),
        datetime_range: Some(range),
        ..FieldCondition::default()
    }))
}

fn equals(condition: &Condition, path: &str) -> ClusterCondition {
    let text = || {
        let mut strings = forms(&condition.value);
        let text = match strings.len() {
            1 => MatchValue::Keyword(strings.remove(0)),
            _ => MatchValue::Keywords(RepeatedStrings { strings }),
        };
        matches(path.to_owned(), text)
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
                let truth = MatchValue::Boolean(truth);
                should.push(matches(path.to_owned(), truth));
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

fn range(condition: &Condition, path: &str, comparison: Comparison) -> ClusterCondition {
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
        key: path.to_owned(),
        range: Some(range),
        ..FieldCondition::default()
    }))
}

fn one(condition: ConditionOneOf) -> ClusterCondition {
    ClusterCondition {
        condition_one_of: Some(condition),
    }
}
