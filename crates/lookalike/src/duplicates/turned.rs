//! Mirrored and rotated copies: turned pictures, compared as others are.

use lookalike_gallery::Gallery;
use lookalike_images::{DecodeOptions, Pixels, Turn, decode};
use lookalike_neighbours::{Codes, Exact};
use rayon::prelude::*;
use uuid::Uuid;

use super::miniature::differences;
use super::pictures::{Match, Pictures, thumbnails};
use crate::contents::Contents;
use crate::encoder::encode_all;
use crate::{Encoder, Error, Phase, Progress};

/// Neighbours by code that a turned picture is compared with.
const CANDIDATES: usize = 8;
/// Pictures that are turned, encoded and compared between two looks at the progress.
const PAGE: usize = 64;

/// The turns that change anything.
const TURNS: [Turn; 7] = {
    let mut turns = [Turn::None; 7];
    let mut at = 0;
    while at < turns.len() {
        turns[at] = Turn::ALL[at + 1];
        at += 1;
    }
    turns
};

impl Pictures {
    /// Notes which pictures are turned copies of others. The thumbnail of each is turned in seven
    /// ways and encoded, which is what takes time; what the codes are near to is compared with the
    /// turned picture. `points` has one of each content.
    pub fn add_turned(
        &mut self,
        gallery: &dyn Gallery,
        contents: &Contents,
        points: &[Uuid],
        encoder: &dyn Encoder,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        let queries = points.len() * TURNS.len();
        let exact = Exact::new(contents.codes()?, contents.metric, queries);
        progress(Progress::new(Phase::Encoding, 0, points.len()));
        for (page, ids) in points.chunks(PAGE).enumerate() {
            let kept = thumbnails(gallery, ids)?;
            let inputs: Vec<Option<Vec<u8>>> = kept
                .par_iter()
                .map(|kept| kept.as_ref().map(|bytes| turned_inputs(bytes, encoder)))
                .map(|inputs| inputs.transpose().map(Option::flatten))
                .collect::<Result<_, Error>>()?;
            let first = page * PAGE;
            let owners: Vec<usize> = (first..)
                .zip(&inputs)
                .filter_map(|(content, inputs)| inputs.as_ref().map(|_| content))
                .collect();
            let inputs: Vec<u8> = inputs.into_iter().flatten().flatten().collect();
            let turned = encode_all(encoder, &inputs, owners.len() * TURNS.len())?;
            let turned = Codes::new(&turned, contents.dims)?;
            let found = exact.nearest(turned, CANDIDATES + 1);
            let found: Vec<_> = found.chunks_exact(TURNS.len()).zip(&owners).collect();
            let matches: Vec<(usize, Match)> = found
                .par_iter()
                .flat_map_iter(|(found, owner)| {
                    let turns = found.iter().zip(TURNS);
                    turns.flat_map(|(near, turn)| {
                        let near = near.iter().map(|other| other.index);
                        self.turned_matches(**owner, turn, near)
                    })
                })
                .collect();
            for (owner, found) in matches {
                self.note(owner, found);
            }
            let done = first + ids.len();
            progress(Progress::new(Phase::Encoding, done, points.len()));
        }
        self.settle();
        Ok(())
    }

    /// Which of some pictures are copies of this one turned.
    fn turned_matches(
        &self,
        owner: usize,
        turn: Turn,
        others: impl Iterator<Item = usize>,
    ) -> Vec<(usize, Match)> {
        let Some(own) = self.miniature(owner) else {
            return Vec::new();
        };
        let own = own.turned(turn).views();
        let others = others.filter(|&other| other != owner);
        others
            .filter_map(|other| {
                let of = differences(&own, &self.miniature(other)?.views());
                self.is_copy(owner, other, of).then_some((
                    owner,
                    Match {
                        other: other as u32,
                        difference: of.all,
                        turn,
                    },
                ))
            })
            .collect()
    }
}

/// The encoder's inputs of a picture in each of the turns; none if the bytes are no picture.
fn turned_inputs(thumbnail: &[u8], encoder: &dyn Encoder) -> Result<Option<Vec<u8>>, Error> {
    let Ok(decoded) = decode(thumbnail, &DecodeOptions::default()) else {
        return Ok(None);
    };
    let pixels: Pixels = decoded.pixels;
    let mut inputs = Vec::new();
    for turn in TURNS {
        let prepared = encoder.prepare(&pixels.turned(turn).into())?;
        inputs.extend_from_slice(prepared.data());
    }
    Ok(Some(inputs))
}
