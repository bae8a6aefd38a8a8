//! Payloads: the protocol's values as JSON, and back.

use std::collections::HashMap;

use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{ListValue, NullValue, Struct, Value as Wire};
use serde_json::{Map, Number, Value};
use tonic::Status;

pub(super) type Object = Map<String, Value>;

pub(super) fn read_object(fields: HashMap<String, Wire>) -> Result<Object, Status> {
    // The order of a hash map is nobody's; by name it is at least always the same.
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
        .into_iter()
        .map(|(name, value)| Ok((name, read(value)?)))
        .collect()
}

fn read(value: Wire) -> Result<Value, Status> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::DoubleValue(number)) => Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| Status::invalid_argument("cannot convert to json number"))?,
        Some(Kind::IntegerValue(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::BoolValue(yes)) => yes.into(),
        Some(Kind::StructValue(object)) => Value::Object(read_object(object.fields)?),
        Some(Kind::ListValue(list)) => list
            .values
            .into_iter()
            .map(read)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
    })
}

pub(super) fn write_object(object: Object) -> HashMap<String, Wire> {
    object
        .into_iter()
        .map(|(name, value)| (name, write(value)))
        .collect()
}

fn write(value: Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(NullValue::NullValue.into()),
        Value::Bool(yes) => Kind::BoolValue(yes),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Kind::IntegerValue(number),
            None => Kind::DoubleValue(number.as_f64().expect("a number is an i64 or an f64")),
        },
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(write).collect(),
        }),
        Value::Object(object) => Kind::StructValue(Struct {
            fields: write_object(object),
        }),
    };
    Wire { kind: Some(kind) }
}

/// Sets what the second has in the first; nulls remove.
pub(super) fn merge(into: &mut Object, from: Object) {
    for (name, value) in from {
        if value.is_null() {
            into.shift_remove(&name);
        } else {
            into.insert(name, value);
        }
    }
}
