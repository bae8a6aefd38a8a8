//! WebDataset: the members of an archive that share a stem are one sample.
//!
//! `000017.jpg`, `000017.cls` and `000017.json`, one after another, are one image, its label and
//! its payload. The stem is the path up to the first dot of the name. Members that share one but
//! are not adjacent are samples of their own.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::entry::{Content, Entry, Stamp};
use crate::limits::Limits;
use crate::names::parent;
use crate::skipped::{SkipKind, SkipReason, Skipped};
use crate::source::LabelFrom;

/// The most bytes of a label or of a payload.
const MAX_BYTES: u64 = 1 << 20;

/// An image waits for the label that may follow it. At most so many images wait, and bytes of them.
const MAX_WAITING: usize = 16;
const MAX_WAITING_BYTES: usize = 64 << 20;

/// A member of an archive that matters.
pub(crate) enum Member {
    Image(Entry),
    Side(Side),
    Skipped(Skipped),
}

impl Member {
    /// A member called `name`: its key and its content, or why it is passed over.
    pub(crate) fn new(
        name: String,
        location: String,
        side: bool,
        stamp: Stamp,
        found: Result<(String, Content), SkipReason>,
    ) -> Self {
        match (found, side) {
            (Ok((key, content)), false) => Self::Image(Entry {
                key,
                label: None,
                sample: None,
                extra: Map::new(),
                location,
                stamp: Some(stamp),
                content,
            }),
            (Err(why), false) => Self::Skipped(Skipped::new(name, location, why)),
            (found, true) => Self::Side(Side {
                key: name,
                location,
                content: found.map(|(_, content)| content),
            }),
        }
    }
}

/// A label or a payload.
pub(crate) struct Side {
    pub(crate) key: String,
    pub(crate) location: String,
    /// Not read yet if it can be read later: an archive may have large JSON files that belong to no
    /// image.
    pub(crate) content: Result<Content, SkipReason>,
}

impl Side {
    /// Whether a name is that of a label or a payload.
    pub(crate) fn is(key: &str) -> bool {
        matches!(ending(key), "cls" | "json")
    }

    pub(crate) const LIMITS: Limits = Limits {
        item_bytes: MAX_BYTES,
        members: u64::MAX,
        ratio: u64::MAX,
    };
}

fn split(key: &str) -> (&str, &str) {
    let name = key.rfind('/').map_or(0, |slash| slash + 1);
    match key[name..].find('.') {
        Some(dot) => (&key[..name + dot], &key[name + dot + 1..]),
        None => (key, ""),
    }
}

fn stem(key: &str) -> &str {
    split(key).0
}

fn ending(key: &str) -> &str {
    split(key).1
}

/// Joins the members of samples. Each item comes with the place at which its sample begins.
pub(crate) struct Samples<I> {
    members: I,
    label: LabelFrom,
    stem: String,
    begins: u64,
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    sides: Vec<Side>,
    ready: VecDeque<(u64, Result<Entry, Skipped>)>,
    ended: bool,
}

impl<I: Iterator<Item = (u64, Member)>> Samples<I> {
    /// `members` come with the places at which they begin.
    pub(crate) fn new(members: I, label: LabelFrom) -> Self {
        Self {
            members,
            label,
            stem: String::new(),
            begins: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            sides: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn take(&mut self, place: u64, member: Member) {
        let key = match &member {
            Member::Image(entry) => &entry.key,
            Member::Side(side) => &side.key,
            Member::Skipped(skipped) => {
                self.ready.push_back((place, Err(skipped.clone())));
                return;
            }
        };
        if stem(key) != self.stem {
            let next = stem(key).to_owned();
            self.flush();
            self.sides.clear();
            self.stem = next;
            self.begins = place;
        }
        match member {
            Member::Image(entry) => {
                if let Content::Bytes(bytes) = &entry.content {
                    self.waiting_bytes += bytes.len();
                }
                self.waiting.push(entry);
                if self.waiting.len() >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES {
                    self.flush();
                }
            }
            // A sample has one label and one payload.
            Member::Side(side) if self.sides.len() < 2 => self.sides.push(side),
            Member::Side(_) | Member::Skipped(_) => {}
        }
    }

    /// Releases the waiting images, with the label and the payload that came so far.
    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (mut class, mut payload) = (None, Map::new());
        for side in &self.sides {
            let read = match ending(&side.key) {
                "cls" => read_class(side).map(|label| class = Some(label)),
                _ => read_payload(side).map(|fields| payload = fields),
            };
            if let Err(why) = read {
                let skipped = Skipped::new(&side.key, &side.location, why);
                self.ready.push_back((self.begins, Err(skipped)));
            }
        }
        let column = match &self.label {
            LabelFrom::Column(name) => payload.shift_remove(name).and_then(label_of),
            _ => None,
        };
        for mut entry in self.waiting.drain(..) {
            entry.label = match self.label {
                LabelFrom::Default => class.clone().or_else(|| parent(&entry.key)),
                LabelFrom::Parent => parent(&entry.key),
                LabelFrom::Column(_) => column.clone(),
                LabelFrom::None => None,
            };
            // Images that share a stem without a label or a payload (`cat.1.jpg`, `cat.2.jpg`) are
            // not a sample.
            entry.sample = (!self.sides.is_empty()).then(|| self.stem.clone());
            entry.extra = payload.clone();
            self.ready.push_back((self.begins, Ok(entry)));
        }
        self.waiting_bytes = 0;
    }
}

impl<I: Iterator<Item = (u64, Member)>> Iterator for Samples<I> {
    type Item = (u64, Result<Entry, Skipped>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            match self.members.next() {
                Some((place, member)) => self.take(place, member),
                None => {
                    self.ended = true;
                    self.flush();
                }
            }
        }
    }
}

fn read_side(side: &Side) -> Result<String, SkipReason> {
    let content = side.content.clone()?;
    let bytes = Entry {
        key: String::new(),
        label: None,
        sample: None,
        extra: Map::new(),
        location: String::new(),
        stamp: None,
        content,
    }
    .into_bytes(&Side::LIMITS)?;
    String::from_utf8(bytes).map_err(|_| {
        let reason = "it is not UTF-8; the image is taken without it";
        SkipReason::new(SkipKind::NotUtf8, reason)
    })
}

fn read_class(side: &Side) -> Result<String, SkipReason> {
    Ok(read_side(side)?.trim().to_owned())
}

fn read_payload(side: &Side) -> Result<Map<String, Value>, SkipReason> {
    serde_json::from_str(&read_side(side)?).map_err(|error| {
        let reason =
            format!("cannot read it as a JSON object: {error}; the image is taken without it");
        SkipReason::new(SkipKind::Damaged, reason)
    })
}

/// A value as a label; null is none.
pub(crate) fn label_of(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(label) => Some(label),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn image(key: &str) -> Member {
        Member::Image(Entry {
            key: key.to_owned(),
            label: None,
            sample: None,
            extra: Map::new(),
            location: key.to_owned(),
            stamp: None,
            content: Content::Bytes(Bytes::from_static(b"x")),
        })
    }

    fn side(key: &str, text: &'static str) -> Member {
        Member::Side(Side {
            key: key.to_owned(),
            location: key.to_owned(),
            content: Ok(Content::Bytes(Bytes::from_static(text.as_bytes()))),
        })
    }

    type Told = (u64, String, Option<String>, String);

    fn run(members: Vec<Member>, label: LabelFrom) -> (Vec<Told>, Vec<(String, SkipKind)>) {
        let (mut images, mut skipped) = (Vec::new(), Vec::new());
        let members = (10..).zip(members);
        for (place, item) in Samples::new(members, label) {
            match item {
                Ok(entry) => {
                    let extra = Value::Object(entry.extra).to_string();
                    images.push((place, entry.key, entry.label, extra));
                }
                Err(skip) => skipped.push((skip.key, skip.kind)),
            }
        }
        (images, skipped)
    }

    fn told(place: u64, key: &str, label: Option<&str>, extra: &str) -> Told {
        (place, key.into(), label.map(Into::into), extra.into())
    }

    #[test]
    fn neighbours_with_a_stem_in_common_are_a_sample() {
        let members = || {
            vec![
                side("s/1.cls", "7\n"),
                image("s/1.jpg"),
                image("s/1.seg.png"),
                side("s/1.json", r#"{"a":1,"kind":"owl"}"#),
                image("s/2.jpg"),
                side("t/2.cls", "other folder"),
            ]
        };
        let (images, skipped) = run(members(), LabelFrom::Default);
        let payload = r#"{"a":1,"kind":"owl"}"#;
        let expected = [
            told(10, "s/1.jpg", Some("7"), payload),
            told(10, "s/1.seg.png", Some("7"), payload),
            told(14, "s/2.jpg", Some("s"), "{}"),
        ];
        assert_eq!(images, expected);
        assert!(skipped.is_empty());
        let (images, _) = run(members(), LabelFrom::Column("kind".into()));
        assert_eq!(images[0], told(10, "s/1.jpg", Some("owl"), r#"{"a":1}"#));
        let (images, _) = run(members(), LabelFrom::None);
        assert_eq!(images[0].2, None);
    }

    #[test]
    fn a_damaged_payload_costs_the_payload_only() {
        let members = vec![
            image("1.jpg"),
            side("1.json", "[1]"),
            side("2.json", "nobody's, and not JSON"),
            image("3.jpg"),
        ];
        let (images, skipped) = run(members, LabelFrom::Default);
        assert_eq!(images.len(), 2);
        assert_eq!(skipped, [("1.json".to_owned(), SkipKind::Damaged)]);
    }

    #[test]
    fn a_stem_of_many_images_is_not_held_back() {
        let members: Vec<_> = (0..100).map(|n| image(&format!("scan.{n}.png"))).collect();
        let mut samples = Samples::new((0..).zip(members), LabelFrom::Default);
        samples.next().unwrap().1.unwrap();
        assert!(samples.waiting.len() + samples.ready.len() <= MAX_WAITING);
        assert_eq!(samples.count(), 99);
    }
}
