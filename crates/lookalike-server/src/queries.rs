//! Images that were sent to search with, kept for a while: so that a region of one can be moved
//! without sending the image again, and a search be shown to somebody else.

use std::collections::HashMap;
use std::sync::Arc;

use lookalike::images::Pixels;

/// An image that was sent.
pub(crate) struct Sent {
    /// As large as it is shown at most, upright.
    pub pixels: Pixels,
    /// Sides of the whole image, upright, in pixels.
    pub width: usize,
    pub height: usize,
    /// The code of the whole image.
    pub code: Vec<f32>,
}

impl Sent {
    fn bytes(&self) -> usize {
        self.pixels.data().len() + size_of_val(&self.code[..])
    }
}

/// The images sent last, as many as there is room for, each under the BLAKE3 of its file.
pub(crate) struct Queries {
    kept: HashMap<String, Kept>,
    bytes: usize,
    max_bytes: usize,
    clock: u64,
}

struct Kept {
    sent: Arc<Sent>,
    used: u64,
}

impl Queries {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            kept: HashMap::new(),
            bytes: 0,
            max_bytes,
            clock: 0,
        }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&mut self, hash: &str) -> Option<Arc<Sent>> {
        self.clock += 1;
        let kept = self.kept.get_mut(hash)?;
        kept.used = self.clock;
        Some(kept.sent.clone())
    }

    /// Keeps one more; those that were asked for the longest ago make room.
    pub fn put(&mut self, hash: String, sent: Arc<Sent>) {
        self.clock += 1;
        self.bytes += sent.bytes();
        let used = self.clock;
        if let Some(before) = self.kept.insert(hash, Kept { sent, used }) {
            self.bytes -= before.sent.bytes();
        }
        // The newest stays, however large: it is about to be asked for.
        while self.bytes > self.max_bytes && self.kept.len() > 1 {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let oldest = oldest.expect("there are two").0.clone();
            let gone = self.kept.remove(&oldest).expect("it was found");
            self.bytes -= gone.sent.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(side: usize) -> Arc<Sent> {
        Arc::new(Sent {
            pixels: Pixels::new(side, side, 1, vec![0; side * side]).unwrap(),
            width: side,
            height: side,
            code: Vec::new(),
        })
    }

    #[test]
    fn what_was_not_asked_for_makes_room() {
        let mut queries = Queries::new(250);
        for name in ["a", "b"] {
            queries.put(name.to_owned(), sent(10));
        }
        assert!(queries.get("a").is_some());
        queries.put("c".to_owned(), sent(10));
        assert!(queries.get("b").is_none(), "asked for the longest ago");
        assert!(queries.get("a").is_some() && queries.get("c").is_some());
        assert_eq!(queries.bytes(), 200);
        queries.put("c".to_owned(), sent(10));
        assert_eq!(
            queries.bytes(),
            200,
            "the same once more is not twice as much"
        );
        queries.put("large".to_owned(), sent(100));
        assert!(queries.get("large").is_some());
        assert_eq!((queries.kept.len(), queries.bytes()), (1, 10_000));
    }
}
