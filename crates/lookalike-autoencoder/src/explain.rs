//! Why two images are alike: the similarity of their codes, shared out among the places of each.
//!
//! A code that is linear in the encoder's last map is a sum over the places of that map, and so is
//! its product with any other code. Nothing is estimated: the shares add up to the similarity. The
//! idea is that of Stylianou, Souvenir and Pless, *Visualizing Deep Similarity Networks* (WACV
//! 2019), who did it for networks that pool their last map; here every place has weights of its
//! own.

use lookalike_images::{Pixels, fit_with};
use serde::Serialize;

use crate::direct::Direct;
use crate::model::{Autoencoder, WHITE};

/// How much each place of an image adds to a similarity.
///
/// Places are the cells of the encoder's last map, which lies evenly over the picture as the
/// network sees it: the image brought to the model's shape, as [`lookalike_images::fit_with`] does
/// it by [`Autoencoder::fit`]. Where that is [`Fit::Stretch`](lookalike_images::Fit::Stretch) it
/// lies evenly over the image as well. A cell sees further than its own part of the picture, by
/// some cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contributions {
    /// Cells from top to bottom.
    pub rows: usize,
    /// Cells from left to right.
    pub columns: usize,
    /// `rows` x `columns` shares of the similarity, row by row from the top. What makes images
    /// unlike is negative.
    pub values: Vec<f32>,
}

/// Why two images are alike, as [`Autoencoder::explain`] finds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The cosine of the angle between the codes: 1 for the same direction; 0 where a code is all
    /// zeros.
    pub similarity: f32,
    /// The share of the similarity that is owed to colours in the codes, which have no place; 0 for
    /// models whose codes have none beside what was learned.
    pub colours: f32,
    /// Where in the first image the rest of it comes from.
    pub a: Contributions,
    /// Where in the second.
    pub b: Contributions,
}

/// One image on its way to an explanation.
struct Side {
    /// The encoder's last map, channels last; the code itself, where that is the map.
    map: Vec<f64>,
    /// What the network says.
    latent: Vec<f64>,
    /// Length of that.
    length: f64,
    /// The shape as it stands in the code behind that, and the colours behind it; empty where the
    /// model has none.
    shape: Vec<f64>,
    colours: Vec<f64>,
    /// The image as the network sees it.
    pixels: Vec<u8>,
}

impl Autoencoder {
    /// Says why two images are alike: the similarity of their codes as a sum over the places of
    /// either image.
    ///
    /// For each of the two, its [`values`](Contributions::values) and
    /// [`colours`](Explanation::colours) add up to [`similarity`](Explanation::similarity). Where
    /// the code is linear in the encoder's last map, a place's share is the product of what it adds
    /// to the image's code with the other image's code, over both lengths; the layer's bias, which
    /// belongs to no place, is spread evenly over all of them. Where the code is a map, a place's
    /// share is the product of the codes there, the same for both images.
    pub fn explain(&self, a: &Pixels, b: &Pixels) -> Explanation {
        let [a, b] = [a, b].map(|image| self.side(image));
        let joins = self.code_dim() > self.latent_dim();
        // A code's length: what stands behind the latent brings that to length 1.
        let code_length = |side: &Side| match joins {
            true => {
                let latent = if side.length > 0.0 { 1.0 } else { 0.0 };
                let seen = dot(&side.shape, &side.shape) + dot(&side.colours, &side.colours);
                (latent + seen).sqrt()
            }
            false => side.length,
        };
        let lengths = code_length(&a) * code_length(&b);
        let over = |share: f64, by: f64| if by > 0.0 { share / by } else { 0.0 };
        // Of a product of latents.
        let scale = match joins {
            true => over(over(1.0, a.length * b.length), lengths),
            false => over(1.0, lengths),
        };
        let colours = over(dot(&a.colours, &b.colours), lengths);
        Explanation {
            similarity: (dot(&a.latent, &b.latent) * scale
                + over(dot(&a.shape, &b.shape), lengths)
                + colours) as f32,
            colours: colours as f32,
            a: self.contributions(&a, &b, scale, over(1.0, lengths)),
            b: self.contributions(&b, &a, scale, over(1.0, lengths)),
        }
    }

    fn side(&self, image: &Pixels) -> Side {
        let picture = fit_with(image, self.shape(), self.fit(), WHITE);
        let pixels = picture.data();
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (map, latent) = match self.trunk() {
            Some(trunk) => {
                let map = wide(&trunk.maps(1, pixels));
                let [weight, bias] = trunk.linear.map(|index| self.parameter(index));
                // Made of the map, so that its shares add up to it on any device.
                let mut latent = wide(&bias[..self.latent_dim()]);
                for (&value, row) in map.iter().zip(weight.chunks_exact(bias.len())) {
                    for (sum, &weight) in latent.iter_mut().zip(row) {
                        *sum += value * f64::from(weight);
                    }
                }
                (map, latent)
            }
            None => {
                let latent = wide(&self.latents(pixels));
                (latent.clone(), latent)
            }
        };
        let mut shape = wide(&self.seen(pixels));
        let colours = shape.split_off(self.direct().map_or(0, Direct::shape_dims));
        Side {
            length: dot(&latent, &latent).sqrt(),
            shape,
            colours,
            map,
            latent,
            pixels: pixels.to_vec(),
        }
    }

    /// The shares of the places of `side` in its latent's product with another, times `scale`, and
    /// in its shape's, times `shape_scale`.
    fn contributions(
        &self,
        side: &Side,
        other: &Side,
        scale: f64,
        shape_scale: f64,
    ) -> Contributions {
        let (map, towards, even) = match self.trunk() {
            Some(trunk) => {
                let [weight, bias] = trunk.linear.map(|index| self.parameter(index));
                let along = |row: &[f32]| -> f64 {
                    let pairs = row.iter().zip(&other.latent);
                    pairs.map(|(&w, o)| f64::from(w) * o).sum()
                };
                // What a unit at each place of the map adds to the product.
                let towards: Vec<f64> = weight.chunks_exact(bias.len()).map(along).collect();
                let cells = trunk.map[0] * trunk.map[1];
                (trunk.map, towards, along(bias) / cells as f64)
            }
            None => (self.code_map(), other.latent.clone(), 0.0),
        };
        let [rows, columns, channels] = map;
        let cells = side.map.chunks_exact(channels);
        let shares = match self.direct() {
            Some(direct) => direct.shape_shares(&side.pixels, &other.shape, rows, columns),
            None => vec![0.0; rows * columns],
        };
        let values = cells
            .zip(towards.chunks_exact(channels))
            .zip(shares)
            .map(|((cell, towards), shape)| {
                ((dot(cell, towards) + even) * scale + shape * shape_scale) as f32
            })
            .collect();
        Contributions {
            rows,
            columns,
            values,
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use lookalike_images::{Collection, InputShape};

    use super::*;
    use crate::{Architecture, DeviceChoice, Objective, Symmetry, TrainConfig, train};

    fn shape(channels: usize) -> InputShape {
        InputShape {
            channels,
            height: 28,
            width: 28,
        }
    }

    /// A bright blob in one corner (0 to 3) on a dim gradient, in a colour of its own.
    fn picture(channels: usize, corner: usize, seed: usize) -> Pixels {
        let mut data = Vec::new();
        for y in 0..28usize {
            for x in 0..28usize {
                let (cy, cx) = (7 + 14 * (corner / 2), 7 + 14 * (corner % 2));
                let inside = y.abs_diff(cy).pow(2) + x.abs_diff(cx).pow(2) < 16 + seed % 9;
                for c in 0..channels {
                    let dim = (x + y * (seed % 3 + 1) + 10 * c) % 60;
                    data.push(if inside {
                        250 - (40 * c * (seed % 3)) as u8
                    } else {
                        dim as u8
                    });
                }
            }
        }
        Pixels::new(28, 28, channels, data).unwrap()
    }

    fn symmetric_model() -> Autoencoder {
        let model = model_with(Architecture::Bottleneck, Objective::Look, 0.0, |config| {
            config.augmentation.turn = true;
            config.augmentation.mirror = true;
        });
        let direct = model.record().direct.as_ref().unwrap();
        assert_eq!(direct.symmetry, Symmetry::TurnsAndMirror);
        model
    }

    fn model(architecture: Architecture, objective: Objective, colour_weight: f32) -> Autoencoder {
        model_with(architecture, objective, colour_weight, |_| {})
    }

    fn model_with(
        architecture: Architecture,
        objective: Objective,
        colour_weight: f32,
        change: impl FnOnce(&mut TrainConfig),
    ) -> Autoencoder {
        let coloured = colour_weight > 0.0 || objective == Objective::Look;
        let channels = if coloured { 3 } else { 1 };
        let count = 48;
        let pixels = (0..count)
            .flat_map(|i| picture(channels, i % 4, i).into_data())
            .collect();
        let keys = (0..count).map(|i| i.to_string()).collect();
        let collection =
            Collection::from_parts("blobs", shape(channels), keys, vec![None; count], pixels)
                .unwrap();
        let mut config = TrainConfig {
            colour_weight,
            epochs: 3,
            batch: 8,
            ..TrainConfig::with_objective(architecture, objective)
        };
        change(&mut config);
        train(&collection, &config, DeviceChoice::Cpu, None, &mut ()).unwrap()
    }

    fn models() -> Vec<Autoencoder> {
        vec![
            model(Architecture::Bottleneck, Objective::Look, 0.0),
            symmetric_model(),
            model(Architecture::Bottleneck, Objective::Reconstruct, 0.0),
            model(Architecture::Bottleneck, Objective::Reconstruct, 1.2),
            model(Architecture::Bottleneck, Objective::Variational, 0.0),
            model(Architecture::Conv, Objective::Reconstruct, 0.0),
            model(Architecture::Compact, Objective::Reconstruct, 0.0),
        ]
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (a, b) = (wide(a), wide(b));
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    #[test]
    fn shares_add_up_to_the_similarity_of_the_codes() {
        for model in models() {
            let what = format!("{:?}", model.config());
            let channels = model.shape().channels;
            for (first, second) in [((0, 1), (3, 5)), ((2, 4), (2, 7))] {
                let a = picture(channels, first.0, first.1);
                let b = picture(channels, second.0, second.1);
                let why = model.explain(&a, &b);
                let expected = cosine(
                    &model.encode(a.data()).unwrap(),
                    &model.encode(b.data()).unwrap(),
                );
                assert!(
                    (f64::from(why.similarity) - expected).abs() < 1e-4,
                    "{what}: {why:?}"
                );
                for side in [&why.a, &why.b] {
                    assert_eq!(side.values.len(), side.rows * side.columns);
                    assert!(side.values.len() > 1);
                    let sum: f32 = side.values.iter().sum::<f32>() + why.colours;
                    assert!(
                        (sum - why.similarity).abs() < 1e-4,
                        "{what}: {sum} of {why:?}"
                    );
                }
                let coloured = model
                    .record()
                    .direct
                    .as_ref()
                    .is_some_and(|d| d.colours.is_some())
                    || model.config().colour_weight > 0.0;
                assert_eq!(why.colours != 0.0, coloured, "{what}");
                let back = model.explain(&b, &a);
                assert_eq!((back.a, back.b), (why.b, why.a));
            }
        }
    }

    #[test]
    fn an_image_is_wholly_like_itself() {
        for model in models() {
            let image = picture(model.shape().channels, 1, 3);
            let why = model.explain(&image, &image);
            assert!((why.similarity - 1.0).abs() < 1e-5, "{why:?}");
            assert_eq!(why.a, why.b);
        }
    }

    #[test]
    fn what_changes_in_a_corner_changes_its_cells() {
        for model in models() {
            // Another corner changes the mean of the image, and with it every normalised pixel.
            if model.config().normalises_input() {
                continue;
            }
            let channels = model.shape().channels;
            let a = picture(channels, 0, 1);
            let mut data = a.data().to_vec();
            for y in 22..28 {
                for x in 22..28 {
                    data[(y * 28 + x) * channels..][..channels].fill(255);
                }
            }
            let changed = Pixels::new(28, 28, channels, data).unwrap();
            let other = picture(channels, 3, 2);
            let (before, after) = (model.explain(&a, &other), model.explain(&changed, &other));
            // Both codes' lengths are taken out, for they change every cell.
            let length = |image: &Pixels| {
                let long = |values: Vec<f32>| values.iter().map(|v| v * v).sum::<f32>().sqrt();
                let latent = long(model.latents(image.data()));
                match channels {
                    3 => latent * long(model.encode(image.data()).unwrap()),
                    _ => latent,
                }
            };
            let lengths = (length(&a), length(&changed));
            let (rows, columns) = (before.a.rows, before.a.columns);
            let mut moved = [0.0f32; 2];
            for y in 0..rows {
                for x in 0..columns {
                    let at = y * columns + x;
                    let far = 2 * y + 1 < rows || 2 * x + 1 < columns;
                    let by = after.a.values[at] * lengths.1 - before.a.values[at] * lengths.0;
                    moved[usize::from(far)] += by.abs();
                }
            }
            let what = format!("{:?}: {moved:?}", model.config());
            assert!(moved[0] > moved[1], "{what}");
        }
    }

    #[test]
    fn images_of_other_sizes_and_of_nothing_are_explained() {
        let model = model(Architecture::Conv, Objective::Reconstruct, 0.0);
        let wide = Pixels::new(90, 31, 3, vec![77; 90 * 31 * 3]).unwrap();
        let black = Pixels::new(1, 1, 1, vec![0]).unwrap();
        let why = model.explain(&wide, &black);
        assert!(
            why.a
                .values
                .iter()
                .chain(&why.b.values)
                .all(|v| v.is_finite())
        );
        assert_eq!((why.a.rows, why.a.columns), (7, 7));
    }
}
