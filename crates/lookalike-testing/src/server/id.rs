//! What points are called.

use std::fmt;

use qdrant_client::qdrant::PointId;
use qdrant_client::qdrant::point_id::PointIdOptions;
use tonic::Status;
use uuid::Uuid;

/// What a point is called. Numbers come before UUIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// A number.
    Number(u64),
    /// A UUID.
    Uuid(Uuid),
}

impl Id {
    pub(super) fn read(id: Option<&PointId>) -> Result<Self, Status> {
        let id = id.ok_or_else(|| Status::invalid_argument("Empty ID is not allowed"))?;
        match &id.point_id_options {
            Some(PointIdOptions::Num(number)) => Ok(Self::Number(*number)),
            Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(text)
                .map(Self::Uuid)
                .map_err(|_| Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
            None => Err(Status::invalid_argument("No ID options provided")),
        }
    }

    pub(super) fn write(self) -> PointId {
        PointId {
            point_id_options: Some(match self {
                Self::Number(number) => PointIdOptions::Num(number),
                Self::Uuid(uuid) => PointIdOptions::Uuid(uuid.to_string()),
            }),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Uuid> for Id {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}
