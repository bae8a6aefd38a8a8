//! Examples of a search, counted while they are read.

use serde::Deserializer;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};

use super::Reference;

/// The most examples of one kind that are read at all, whatever
/// [`Limits::files`](crate::Limits::files) allows.
pub(crate) const MAX_EXAMPLES: usize = 10_000;

/// Reads at most [`MAX_EXAMPLES`] examples. In a few bytes each, a body can list millions, which
/// would take gigabytes before anybody could count them.
pub(crate) fn examples<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Reference>, D::Error> {
    struct Examples;

    impl<'de> Visitor<'de> for Examples {
        type Value = Vec<Reference>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut examples = Vec::new();
            while examples.len() < MAX_EXAMPLES {
                match sequence.next_element()? {
                    Some(example) => examples.push(example),
                    None => return Ok(examples),
                }
            }
            match sequence.next_element::<IgnoredAny>()? {
                Some(_) => Err(A::Error::custom(format_args!(
                    "more than {MAX_EXAMPLES} examples are too many: give fewer"
                ))),
                None => Ok(examples),
            }
        }
    }

    deserializer.deserialize_seq(Examples)
}
