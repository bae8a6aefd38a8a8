//! Points to fill galleries with, the same in every run.

use lookalike_gallery::{Facts, Payload, Point};
use serde_json::json;

/// A small generator of numbers that look random (SplitMix64, Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between -1 and 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn code(&mut self, dims: usize) -> Vec<f32> {
        (0..dims).map(|_| self.float()).collect()
    }
}

/// Codes of very different lengths around ten centres: what normalising would blur shows.
pub fn points(count: usize, dims: usize, seed: u64) -> Vec<Point> {
    let mut random = Random(seed);
    let centres: Vec<_> = (0..10).map(|_| random.code(dims)).collect();
    (0..count)
        .map(|i| {
            let scale = 1.0 + 9.0 * (random.float() + 1.0);
            let code = centres[i % 10]
                .iter()
                .map(|x| scale * (x + 0.3 * random.float()))
                .collect();
            point(i, code)
        })
        .collect()
}

/// The point of the `i`th image, labelled with its last digit.
pub fn point(i: usize, code: Vec<f32>) -> Point {
    let mut payload = Payload {
        source: "samples".into(),
        key: i.to_string(),
        label: (!i.is_multiple_of(7)).then(|| (i % 10).to_string()),
        width: 20 + (i % 5) as u32 * 10,
        height: 28,
        blake3: format!("{i:064x}"),
        ..Payload::default()
    };
    if !i.is_multiple_of(4) {
        payload.facts = Facts {
            brightness: Some((i % 9) as f64 / 8.0),
            sharpness: Some(0.5),
            taken: Some(format!(
                "2024-{:02}-{:02}T12:30:0{}",
                1 + i % 12,
                1 + i % 28,
                i % 10
            )),
            camera: (i % 2 == 1).then(|| "Leica M3".to_owned()),
            orientation: Some((1 + i % 8) as u8),
            ..Facts::default()
        };
    }
    if i.is_multiple_of(3) {
        payload.extra.insert("year".into(), (1990 + i % 30).into());
        payload.extra.insert("city".into(), "Basel".into());
    }
    // Fields that the source gives under the names of facts, one of them of another kind.
    let own = match i % 10 {
        0 => json!(0.25),
        1 => json!("low"),
        2 => json!([0.5, "high"]),
        3 => json!(null),
        4 => json!([]),
        _ => return Point::new(code, payload),
    };
    payload.extra.insert("brightness".into(), own);
    payload.extra.insert("taken".into(), json!(2024));
    Point::new(code, payload)
}
