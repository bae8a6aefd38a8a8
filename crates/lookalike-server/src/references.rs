//! The images that requests name: points of the gallery, images that were sent, codes, and parts of
//! pictures.

use std::sync::Arc;

use lookalike::gallery::Point;
use lookalike::images::{DecodeOptions, Decoded, Pixels, decode};
use lookalike::{DEFAULT_THUMBNAIL_SIDE, decode_target, reduced};
use uuid::Uuid;

use crate::problem::Problem;
use crate::queries::Sent;
use crate::service::Service;
use crate::types::Reference;
use crate::work::stop_if_abandoned;

/// The longer side of what is kept of an image that was sent, in pixels.
const SENT_SIDE: usize = 1_536;

/// An image to ask with, as far as asking needs it.
pub(crate) struct Asked {
    pub code: Vec<f32>,
    /// The point that it is.
    pub point: Option<Uuid>,
    /// The same point, if the image was sent and is there already.
    pub already: Option<Box<Point>>,
}

impl Asked {
    /// An image that was sent, and the gallery's point of the same content.
    pub fn sent(code: Vec<f32>, known: Option<Point>) -> Self {
        Self {
            code,
            point: known.as_ref().map(|point| point.id),
            already: known.map(Box::new),
        }
    }

    fn of(code: Vec<f32>, point: Option<Uuid>) -> Self {
        Self {
            code,
            point,
            already: None,
        }
    }
}

impl Service {
    /// The point with an id.
    pub fn point(&self, id: Uuid) -> Result<Point, Problem> {
        let point = self.gallery().retrieve(&[id])?.pop();
        point.ok_or_else(|| no_such_image(id))
    }

    /// Decodes an image that was sent just as when it is indexed: what is in the gallery is found
    /// at no distance at all.
    pub fn decoded(&self, bytes: &[u8]) -> Result<Decoded, Problem> {
        let target = decode_target(self.searcher.encoder(), DEFAULT_THUMBNAIL_SIDE);
        Ok(decode(bytes, &self.decode_options(Some(target)))?)
    }

    /// How pictures are decoded, for images of about `target` pixels if that is less than they
    /// have.
    pub fn decode_options(&self, target: Option<(usize, usize)>) -> DecodeOptions {
        DecodeOptions {
            target,
            ..self.reading.decode.clone()
        }
    }

    /// The code of an image that was sent.
    pub fn encoded(&self, bytes: &[u8]) -> Result<Vec<f32>, Problem> {
        let decoded = self.decoded(bytes)?;
        Ok(self.searcher.encoder().encode_picture(&decoded)?)
    }

    /// The gallery's point of this content.
    pub fn known(&self, hash: &str) -> Result<Option<Point>, Problem> {
        Ok(self.gallery().with_content(&[hash])?.remove(hash))
    }

    /// Keeps an image to search with; gives its name.
    pub fn keep(&self, bytes: &[u8]) -> Result<(String, Arc<Sent>), Problem> {
        let hash = blake3::hash(bytes).to_hex().to_string();
        if let Some(sent) = self.queries().get(&hash) {
            return Ok((hash, sent));
        }
        let code = self.encoded(bytes)?;
        stop_if_abandoned()?;
        let whole = decode(bytes, &self.decode_options(Some((SENT_SIDE, SENT_SIDE))))?;
        let sent = Arc::new(Sent {
            pixels: reduced(whole.pixels, SENT_SIDE),
            width: whole.width,
            height: whole.height,
            code,
        });
        self.queries().put(hash.clone(), sent.clone());
        Ok((hash, sent))
    }

    /// An image that was kept.
    pub fn kept(&self, hash: &str) -> Result<Arc<Sent>, Problem> {
        self.queries().get(hash).ok_or_else(|| {
            Problem::not_found(
                "this image is no longer kept here: images to search with are forgotten after a while; send it again",
            )
        })
    }

    /// The picture that a reference means, and the point that it is.
    fn picture(&self, reference: &Reference) -> Result<(Pixels, Option<Uuid>), Problem> {
        let (pixels, width, height, id) = match only(reference)? {
            Which::Id(id) => {
                let payload = self.point(id)?.payload;
                let pixels = self.originals.picture(self.gallery(), &payload).ok_or_else(|| {
                    Problem::not_found(format!(
                        "the original of {} is gone, and no thumbnail was kept: search with the whole image, by its code",
                        payload.key
                    ))
                })?;
                (
                    pixels,
                    payload.width as usize,
                    payload.height as usize,
                    Some(id),
                )
            }
            Which::Upload(hash) => {
                let sent = self.kept(hash)?;
                let known = self.known(hash)?.map(|point| point.id);
                (sent.pixels.clone(), sent.width, sent.height, known)
            }
            Which::Code(_) | Which::Text(_) => {
                return Err(Problem::unusable(
                    "a code and words are not a picture: give an image by 'id' or 'upload'",
                ));
            }
        };
        let Some(rectangle) = reference.region else {
            return Ok((pixels, id));
        };
        Ok((pixels.crop_of(rectangle.region(), (width, height))?, id))
    }

    /// The picture that a reference means.
    pub fn pixels(&self, reference: &Reference) -> Result<Pixels, Problem> {
        Ok(self.picture(reference)?.0)
    }

    /// The code that a reference means.
    pub fn asked(&self, reference: &Reference) -> Result<Asked, Problem> {
        stop_if_abandoned()?;
        if reference.region.is_some() {
            let (pixels, point) = self.picture(reference)?;
            let code = self.searcher.encoder().encode_picture(&pixels.into())?;
            return Ok(Asked::of(code, point));
        }
        Ok(match only(reference)? {
            Which::Id(id) => {
                let point = self.point(id)?;
                Asked::of(point.code, Some(id))
            }
            Which::Upload(hash) => {
                let sent = self.kept(hash)?;
                Asked::sent(sent.code.clone(), self.known(hash)?)
            }
            Which::Code(code) => {
                let dims = self.searcher.encoder().code_dim();
                if code.len() != dims {
                    return Err(Problem::unusable(format!(
                        "the code has {} dimensions, the codes of this gallery have {dims}",
                        code.len()
                    )));
                }
                Asked::of(code.to_vec(), None)
            }
            Which::Text(text) => {
                if text.trim().is_empty() || text.chars().count() > MAX_TEXT {
                    return Err(Problem::unusable(format!(
                        "words to ask with are 1 to {MAX_TEXT} characters long"
                    )));
                }
                let encoder = self.searcher.encoder();
                if !encoder.has_text() {
                    return Err(Problem::unusable(
                        "this gallery's encoder has learned from pictures alone and knows no words: ask with a picture",
                    ));
                }
                Asked::of(encoder.encode_text(text)?, None)
            }
        })
    }
}

pub(crate) fn no_such_image(id: Uuid) -> Problem {
    Problem::not_found(format!("the gallery has no image with the id {id}"))
}

/// Characters of a text that is asked with.
const MAX_TEXT: usize = 1000;

enum Which<'a> {
    Id(Uuid),
    Upload(&'a str),
    Code(&'a [f32]),
    Text(&'a str),
}

/// What a reference means, if it means one thing. URLs have become uploads by now.
fn only(reference: &Reference) -> Result<Which<'_>, Problem> {
    let named = [
        reference.id.map(Which::Id),
        reference.upload.as_deref().map(Which::Upload),
        reference.code.as_deref().map(Which::Code),
        reference.text.as_deref().map(Which::Text),
    ];
    let mut named = named.into_iter().flatten();
    let refused = || {
        Problem::unusable(
            "name an image by exactly one of 'id', 'upload', 'code', 'url' and 'text'; a region goes with the others, not with a code or words",
        )
    };
    let (Some(which), None, None) = (named.next(), named.next(), &reference.url) else {
        return Err(refused());
    };
    if reference.region.is_some() && matches!(which, Which::Code(_) | Which::Text(_)) {
        return Err(refused());
    }
    Ok(which)
}
