//! Refusals, in Qdrant's words.

use tonic::Status;

pub(super) fn bad_input(detail: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("Wrong input: {detail}"))
}

/// A field of the request whose value cannot be.
pub(super) fn invalid(field: &str, detail: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("Validation error in body: [{field}: {detail}]"))
}

pub(super) fn not_found(detail: impl std::fmt::Display) -> Status {
    Status::not_found(format!("Not found: {detail}"))
}

pub(super) fn no_collection(name: &str) -> Status {
    not_found(format_args!("Collection `{name}` doesn't exist!"))
}

pub(super) fn no_point(id: super::Id) -> Status {
    not_found(format_args!("No point with id {id} found"))
}

pub(super) fn no_vector(name: &str) -> Status {
    bad_input(format_args!("Not existing vector name error: {name}"))
}

pub(super) fn wrong_dimension(expected: usize, got: usize) -> Status {
    bad_input(format_args!(
        "Vector dimension error: expected dim: {expected}, got {got}"
    ))
}

/// What Qdrant can do and this server cannot.
pub(super) fn unsupported(what: &str) -> Status {
    Status::unimplemented(format!("the server for tests knows no {what}"))
}

/// A number of things wanted that must be at least 1; `None` stands for the default.
pub(super) fn at_least_one(field: &str, number: Option<u64>) -> Result<Option<usize>, Status> {
    match number {
        Some(0) => Err(invalid(field, "value 0 invalid, must be 1 or larger")),
        Some(number) => Ok(Some(usize::try_from(number).unwrap_or(usize::MAX))),
        None => Ok(None),
    }
}
