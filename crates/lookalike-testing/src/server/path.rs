//! Paths into payloads, such as `extra."some-name"[].part`.

use serde_json::Value;
use tonic::Status;

use super::json::Object;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
    Each,
}

/// A path into a payload; begins with a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    pub fn parse(text: &str) -> Result<Self, Status> {
        parse(text).ok_or_else(|| Status::invalid_argument(format!("Invalid json path: '{text}'")))
    }

    /// What is found there: nothing, one value, or several where the path says `[]`.
    pub fn find<'a>(&self, payload: &'a Object) -> Vec<&'a Value> {
        let mut found = Vec::new();
        if let Some((Step::Key(key), rest)) = self.0.split_first()
            && let Some(value) = payload.get(key)
        {
            collect(value, rest, &mut found);
        }
        found
    }

    /// The same path, over the elements of the array that it leads to.
    pub fn each(mut self) -> Self {
        if self.0.last() != Some(&Step::Each) {
            self.0.push(Step::Each);
        }
        self
    }
}

fn collect<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(object)) => {
            if let Some(value) = object.get(key) {
                collect(value, rest, found);
            }
        }
        (Step::Index(index), Value::Array(values)) => {
            if let Some(value) = values.get(*index) {
                collect(value, rest, found);
            }
        }
        (Step::Each, Value::Array(values)) => {
            for value in values {
                collect(value, rest, found);
            }
        }
        _ => {}
    }
}

fn parse(text: &str) -> Option<Path> {
    let (first, mut rest) = key(text)?;
    let mut steps = vec![Step::Key(first)];
    while !rest.is_empty() {
        let step;
        if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = key(after)?;
            step = Step::Key(name);
            rest = after;
        } else {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            step = if index.is_empty() {
                Step::Each
            } else if index.bytes().all(|byte| byte.is_ascii_digit()) {
                Step::Index(index.parse().ok()?)
            } else {
                return None;
            };
            rest = after;
        }
        steps.push(step);
    }
    Some(Path(steps))
}

/// A key, plain or in quotes, and what comes after it.
fn key(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, rest) = quoted.split_once('"')?;
        return (!name.contains('\\')).then(|| (name.to_owned(), rest));
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// Which part of a payload is wanted.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Nothing,
    Everything,
    Include(Vec<Path>),
    Exclude(Vec<Path>),
}

impl Part {
    pub fn of(&self, payload: &Object) -> Object {
        match self {
            Self::Nothing => Object::new(),
            Self::Everything => payload.clone(),
            _ => self.of_object(payload, &mut Vec::new()),
        }
    }

    fn of_object(&self, object: &Object, at: &mut Vec<Step>) -> Object {
        let mut kept = Object::new();
        for (key, value) in object {
            at.push(Step::Key(key.clone()));
            if self.wants(at) {
                kept.insert(key.clone(), self.of_value(value, at));
            }
            at.pop();
        }
        kept
    }

    fn of_value(&self, value: &Value, at: &mut Vec<Step>) -> Value {
        match value {
            Value::Object(object) => Value::Object(self.of_object(object, at)),
            Value::Array(values) => {
                at.push(Step::Each);
                let kept = if self.wants(at) {
                    values
                        .iter()
                        .map(|value| self.of_value(value, at))
                        .collect()
                } else {
                    Vec::new()
                };
                at.pop();
                Value::Array(kept)
            }
            _ => value.clone(),
        }
    }

    fn wants(&self, at: &[Step]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            // On the way to what is wanted, or within it.
            Self::Include(paths) => paths
                .iter()
                .any(|path| path.0.iter().zip(at).all(|(a, b)| a == b)),
            Self::Exclude(paths) => !paths.iter().any(|path| at.starts_with(&path.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            _ => panic!("not an object: {value}"),
        }
    }

    #[test]
    fn paths_find_what_they_name() {
        let payload = object(
            json!({"extra": {"a.b": [1, 2], "c-d": {"e": null}}, "list": [{"x": 1}, {"x": 2}]}),
        );
        let find = |path: &str| -> Vec<Value> {
            let path = Path::parse(path).unwrap();
            path.find(&payload).into_iter().cloned().collect()
        };
        assert_eq!(find(r#"extra."a.b""#), [json!([1, 2])]);
        assert_eq!(find(r#"extra."a.b"[]"#), [json!(1), json!(2)]);
        assert_eq!(find(r#"extra."a.b"[1]"#), [json!(2)]);
        assert_eq!(find("extra.c-d.e"), [Value::Null]);
        assert_eq!(find("list[].x"), [json!(1), json!(2)]);
        assert!(find("list.x").is_empty());
        assert!(find("extra.nothing").is_empty());
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in [
            "", ".", "a.", "a b", "a[", "a[x]", "a[+1]", "\"a", "[0]", "a\"b\"",
        ] {
            let status = Path::parse(path).unwrap_err();
            assert_eq!(status.message(), format!("Invalid json path: '{path}'"));
        }
    }

    #[test]
    fn parts_of_payloads() {
        let payload = object(json!({"a": {"b": 1, "c": 2}, "d": [{"e": 1, "f": 2}], "g": 3}));
        let paths = |paths: &[&str]| -> Vec<Path> {
            paths
                .iter()
                .map(|path| Path::parse(path).unwrap())
                .collect()
        };
        let part = |part: Part| Value::Object(part.of(&payload));
        assert_eq!(
            part(Part::Include(paths(&["a.b", "g"]))),
            json!({"a": {"b": 1}, "g": 3})
        );
        assert_eq!(
            part(Part::Include(paths(&["d[].e"]))),
            json!({"d": [{"e": 1}]})
        );
        assert_eq!(
            part(Part::Exclude(paths(&["a.b", "d"]))),
            json!({"a": {"c": 2}, "g": 3})
        );
        assert_eq!(part(Part::Everything), Value::Object(payload.clone()));
        assert_eq!(part(Part::Nothing), json!({}));
    }
}
