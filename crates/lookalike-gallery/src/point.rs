use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::filter::{Field, is_nothing};
use crate::{Facts, GalleryError};

/// The namespace of every id, itself the version 5 id of "lookalike" in the DNS namespace. It never
/// changes: a point's id is all that ties an image to what is already stored about it.
const NAMESPACE: Uuid = Uuid::from_u128(0x6915_100a_6277_591c_9699_a5f8_5f52_2cb3);

/// Beyond this magnitude a squared component leaves the range of `f32`.
const MAX_VALUE: f32 = 1e18;

/// The id of the image `key` of `source`: a UUID version 5 over both, the same on every machine and
/// in every gallery.
pub fn point_id(source: &str, key: &str) -> Uuid {
    // Sources are paths or names and never contain NUL, so no two pairs share a name.
    Uuid::new_v5(&NAMESPACE, format!("{source}\0{key}").as_bytes())
}

/// What a gallery knows about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its identity, see [`point_id`].
    pub id: Uuid,
    /// Its code, exactly as the encoder gave it.
    pub code: Vec<f32>,
    /// Everything else.
    pub payload: Payload,
}

impl Point {
    /// A point under the id that follows from its payload's [identity](Payload::identity) and key.
    pub fn new(code: Vec<f32>, payload: Payload) -> Self {
        Point {
            id: point_id(payload.identity(), &payload.key),
            code,
            payload,
        }
    }

    /// Whether it is exactly this one, bit for bit.
    pub(crate) fn is(&self, other: &Point) -> bool {
        self.id == other.id && self.has_code_of(other) && self.payload == other.payload
    }

    /// Whether its code is the same, bit for bit.
    pub(crate) fn has_code_of(&self, other: &Point) -> bool {
        let bits = |code: &[f32]| code.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        bits(&self.code) == bits(&other.code)
    }
}

/// What is kept beside a code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Where the image came from, e.g. `mnist:test` or a folder.
    pub source: String,
    /// The image's name within its source.
    pub key: String,
    /// The class that the data set gives it, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Width of the original, in pixels.
    pub width: u32,
    /// Height of the original, in pixels.
    pub height: u32,
    /// BLAKE3 of the original's bytes or, where it is no file of its own, of its pixels; in
    /// hexadecimal.
    pub blake3: String,
    /// Where a person finds the original, e.g. a path or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Length of the original, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When the original was last changed, in nanoseconds since 1970-01-01 00:00 UTC. With `bytes`
    /// it tells, without reading the original, that nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
    /// When what the file system knows of the original was last changed (the change time, where
    /// there is one), in nanoseconds since 1970-01-01 00:00 UTC. Programs can set `modified` back,
    /// but not this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<i64>,
    /// The name that the source had when its ids were given, where it has another by now: a folder
    /// that was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What was found out about the picture itself.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
    /// Whatever else the source says about the image.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// Names of extra fields that were added to the image here, such as its group, and are none of
    /// its source's. They stay when the source is indexed again, as long as the picture is the same
    /// and the source has no field of that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

impl Payload {
    /// The name that ids are made of: that of the source when it was indexed first, see
    /// [`point_id`].
    pub fn identity(&self) -> &str {
        self.origin.as_deref().unwrap_or(&self.source)
    }

    /// Sets or removes an extra field that is none of the source's, see [`kept`](Self::kept). Says
    /// whether that could be done: not where the source has a field of that name.
    pub fn keep(&mut self, name: &str, value: Option<serde_json::Value>) -> bool {
        let own = self.extra.contains_key(name) && !self.kept.iter().any(|kept| kept == name);
        if own {
            return value.is_none();
        }
        self.kept.retain(|kept| kept != name);
        match value {
            Some(value) => {
                self.extra.insert(name.to_owned(), value);
                self.kept.push(name.to_owned());
                self.kept.sort();
            }
            None => drop(self.extra.remove(name)),
        }
        true
    }

    /// Adds what another payload of the same picture keeps beside what its source says.
    pub fn keep_all_of(&mut self, other: &Payload) {
        for name in &other.kept {
            self.keep(name, other.extra.get(name).cloned());
        }
    }

    /// The value of the field that a [`Filter`](crate::Filter) means by a name, if it has one.
    pub fn value(&self, name: &str) -> Option<serde_json::Value> {
        let field = Field::checked(name).ok()?;
        let given = |text: &Option<String>| text.clone().map(Into::into);
        match field {
            Field::Source => Some(self.source.clone().into()),
            Field::Key => Some(self.key.clone().into()),
            Field::Blake3 => Some(self.blake3.clone().into()),
            Field::Label => given(&self.label),
            Field::Location => given(&self.location),
            Field::Width => Some(self.width.into()),
            Field::Height => Some(self.height.into()),
            Field::Bytes => self.bytes.map(Into::into),
            Field::Modified => self.modified.map(Into::into),
            Field::Extra(name) => self.extra.get(&name).cloned(),
            Field::Fact(name) => self.own(name).cloned().or_else(|| self.facts.value(name)),
        }
    }

    /// The extra field that is meant by a fact's name, where there is one.
    pub(crate) fn own(&self, name: &str) -> Option<&serde_json::Value> {
        self.extra.get(name).filter(|value| !is_nothing(value))
    }
}

/// What is known about an image without its code, for going through many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The point's id.
    pub id: Uuid,
    /// As in its [`Payload`].
    pub key: String,
    /// As in its [`Payload`].
    pub blake3: String,
    /// As in its [`Payload`].
    pub bytes: Option<u64>,
    /// As in its [`Payload`].
    pub modified: Option<i64>,
}

/// Refuses codes of a wrong length and values that no metric can compare. `what` names the code,
/// and is only asked for in case of an error.
pub(crate) fn check_code(
    code: &[f32],
    dims: usize,
    what: impl Fn() -> String,
) -> Result<(), GalleryError> {
    if code.len() != dims {
        return Err(GalleryError::Dimensions {
            what: what(),
            found: code.len(),
            expected: dims,
        });
    }
    let is_bad = |value: &f32| value.is_nan() || value.abs() > MAX_VALUE;
    match code.iter().position(is_bad) {
        None => Ok(()),
        Some(position) => Err(GalleryError::BadCode {
            what: what(),
            position,
            value: code[position],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fixed_for_ever() {
        assert_eq!(
            point_id("mnist:test", "7"),
            point_id("mnist:test", "7"),
            "the same pair gives the same id"
        );
        assert_ne!(point_id("a", "bc"), point_id("ab", "c"));
        assert_eq!(
            point_id("mnist:test", "7").to_string(),
            "94226bf5-46a4-5ce7-ae48-dce1e14c41de"
        );
    }

    #[test]
    fn codes_that_cannot_be_compared_are_refused() {
        let check = |code: &[f32]| check_code(code, 2, || "the query".into());
        assert!(check(&[0.0, -1e18]).is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e19] {
            let message = check(&[0.0, bad]).unwrap_err().to_string();
            assert!(message.contains("the query holds"), "{message}");
            assert!(message.contains("position 1"), "{message}");
        }
        let message = check(&[0.0]).unwrap_err().to_string();
        assert!(message.contains("has 1 dimensions"), "{message}");
    }

    #[test]
    fn fields_are_kept_beside_those_of_the_source() {
        let mut known = Payload::default();
        known.extra.insert("year".into(), 1999.into());
        assert!(!known.keep("year", Some(2.into())), "the source's own");
        assert!(known.keep("group", Some(3.into())));
        assert!(known.keep("group", Some(4.into())));
        let mut again = Payload::default();
        again.keep_all_of(&known);
        assert_eq!(again.extra.get("group"), Some(&4.into()));
        assert_eq!((again.extra.len(), again.kept.len()), (1, 1));
        // The source has begun to say it itself.
        let mut own = Payload::default();
        own.extra.insert("group".into(), "a".into());
        own.keep_all_of(&known);
        assert_eq!(own.extra.get("group"), Some(&"a".into()));
        assert!(own.kept.is_empty());
        assert!(known.keep("group", None));
        assert_eq!((known.extra.len(), known.kept.len()), (1, 0));
    }

    #[test]
    fn empty_fields_are_not_stored() {
        let payload = Payload {
            source: "s".into(),
            key: "k".into(),
            ..Payload::default()
        };
        let json = serde_json::to_value(&payload).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().collect();
        // What galleries stored before the other fields were known.
        assert_eq!(names, ["source", "key", "width", "height", "blake3"]);
        assert_eq!(serde_json::from_value::<Payload>(json).unwrap(), payload);
    }
}
