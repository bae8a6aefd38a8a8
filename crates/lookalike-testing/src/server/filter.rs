//! Filters: which points are meant.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::{self as wire, Condition as WireCondition};
use serde_json::Value;
use tonic::Status;

use super::field::Field;
use super::json::Object;
use super::path::Path;
use super::{Id, Point, error};

/// A filter, read and ready to be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    must: Vec<Condition>,
    must_not: Vec<Condition>,
    /// At least one of these, unless there are none.
    should: Vec<Condition>,
    min_should: Option<(usize, Vec<Condition>)>,
    /// Points that are not meant, whatever else is said.
    except: Vec<Id>,
}

#[derive(Clone, Debug)]
enum Condition {
    Field(Field),
    IsEmpty(Path),
    IsNull(Path),
    HasId(Vec<Id>),
    HasVector(String),
    Filter(Filter),
    Nested(Path, Filter),
}

/// What a filter is asked about; within nested objects there are only fields.
#[derive(Clone, Copy)]
struct About<'a> {
    payload: &'a Object,
    point: Option<(Id, &'a Point)>,
}

impl Filter {
    /// Reads a filter; none means all points.
    pub fn read(filter: Option<wire::Filter>) -> Result<Self, Status> {
        let Some(filter) = filter else {
            return Ok(Self::default());
        };
        let min_should = filter.min_should.map(|least| {
            let count = usize::try_from(least.min_count).unwrap_or(usize::MAX);
            Ok::<_, Status>((count, conditions(least.conditions)?))
        });
        Ok(Self {
            must: conditions(filter.must)?,
            must_not: conditions(filter.must_not)?,
            should: conditions(filter.should)?,
            min_should: min_should.transpose()?,
            except: Vec::new(),
        })
    }

    /// The same filter, without these points.
    pub fn except(mut self, ids: impl IntoIterator<Item = Id>) -> Self {
        self.except.extend(ids);
        self
    }

    pub fn admits(&self, id: Id, point: &Point) -> bool {
        !self.except.contains(&id)
            && self.holds(About {
                payload: &point.payload,
                point: Some((id, point)),
            })
    }

    fn holds(&self, about: About<'_>) -> bool {
        let holds = |condition: &Condition| condition.holds(about);
        (self.should.is_empty() || self.should.iter().any(holds))
            && self.must.iter().all(holds)
            && !self.must_not.iter().any(holds)
            && self.min_should.as_ref().is_none_or(|(least, conditions)| {
                conditions.iter().filter(|c| c.holds(about)).count() >= *least
            })
    }
}

fn conditions(conditions: Vec<WireCondition>) -> Result<Vec<Condition>, Status> {
    // Empty ones are passed over, as Qdrant does.
    conditions
        .into_iter()
        .filter_map(|condition| condition.condition_one_of)
        .map(Condition::read)
        .collect()
}

impl Condition {
    fn read(condition: ConditionOneOf) -> Result<Self, Status> {
        Ok(match condition {
            ConditionOneOf::Field(field) => Self::Field(Field::read(field)?),
            ConditionOneOf::IsEmpty(field) => Self::IsEmpty(Path::parse(&field.key)?),
            ConditionOneOf::IsNull(field) => Self::IsNull(Path::parse(&field.key)?),
            ConditionOneOf::HasId(ids) => Self::HasId(
                ids.has_id
                    .iter()
                    .map(|id| Id::read(Some(id)))
                    .collect::<Result<_, _>>()?,
            ),
            ConditionOneOf::HasVector(vector) => Self::HasVector(vector.has_vector),
            ConditionOneOf::Filter(filter) => Self::Filter(Filter::read(Some(filter))?),
            ConditionOneOf::Nested(nested) => Self::Nested(
                Path::parse(&nested.key)?.each(),
                Filter::read(nested.filter)?,
            ),
            ConditionOneOf::Slice(_) => return Err(error::unsupported("slices")),
        })
    }

    fn holds(&self, about: About<'_>) -> bool {
        match self {
            Self::Field(field) => field.holds(about.payload),
            Self::IsEmpty(path) => path
                .find(about.payload)
                .into_iter()
                .all(|value| match value {
                    Value::Null => true,
                    Value::Array(values) => values.is_empty(),
                    _ => false,
                }),
            Self::IsNull(path) => path.find(about.payload).into_iter().any(Value::is_null),
            Self::HasId(ids) => about.point.is_some_and(|(id, _)| ids.contains(&id)),
            Self::HasVector(name) => about
                .point
                .is_some_and(|(_, point)| point.vectors.contains_key(name)),
            Self::Filter(filter) => filter.holds(about),
            Self::Nested(path, filter) => path
                .find(about.payload)
                .into_iter()
                .filter_map(Value::as_object)
                .any(|payload| {
                    filter.holds(About {
                        payload,
                        point: None,
                    })
                }),
        }
    }
}
