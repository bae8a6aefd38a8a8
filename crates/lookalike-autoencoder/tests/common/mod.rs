//! Collections small enough to learn in a test.

use lookalike_images::{Collection, InputShape};

pub const GREY: InputShape = InputShape {
    channels: 1,
    height: 28,
    width: 28,
};

/// Discs and bars of random places and sizes: `count` images that an autoencoder can learn.
pub fn shapes(count: usize, shape: InputShape) -> Collection {
    let mut state = 0x1234_5678_u64;
    let mut random = |range: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % range.max(1)
    };
    let mut pixels = vec![0u8; count * shape.values()];
    for image in pixels.chunks_exact_mut(shape.values()) {
        let (h, w, c) = (shape.height, shape.width, shape.channels);
        let (cy, cx) = (h / 4 + random(h / 2), w / 4 + random(w / 2));
        let radius = 2 + random(h.min(w) / 4);
        let disc = random(2) == 0;
        for y in 0..h {
            for x in 0..w {
                let (dy, dx) = (y.abs_diff(cy), x.abs_diff(cx));
                let inside = if disc {
                    dy * dy + dx * dx <= radius * radius
                } else {
                    dy <= 1 + radius / 3 && dx <= 2 * radius
                };
                if inside {
                    for (channel, value) in image[(y * w + x) * c..][..c].iter_mut().enumerate() {
                        *value = 255 - (channel * 60) as u8;
                    }
                }
            }
        }
    }
    let keys = (0..count).map(|i| i.to_string()).collect();
    Collection::from_parts("shapes", shape, keys, vec![None; count], pixels).unwrap()
}
