//! The encoder as an ONNX file, for other programs and languages.
//!
//! The graph takes bytes and gives codes: how pixels are scaled and normalised, the network with
//! batch norm folded, and what stands in codes behind it are all inside, as plain operators. What
//! it cannot contain, how a picture of another size is brought to the model's, stands in the file's
//! metadata. docs/encoders.md describes the file.

mod direct;
mod graph;
mod network;

use lookalike_images::{COLOUR_BINS, FINE_COLOUR_BINS};

use self::graph::{About, Attribute, Graph, Value};
use crate::model::{Autoencoder, WHITE};
use crate::network::fold;

/// Names of what the graph takes and gives.
const INPUT: &str = "images";
const OUTPUT: &str = "codes";
/// Version of the metadata.
const FORMAT: u32 = 1;
/// Lengths below this are taken as this, so that nothing is divided by zero.
const MIN_LENGTH: f32 = 1e-30;

impl Autoencoder {
    /// The encoder as the bytes of an ONNX file (opset 13): `images`, any number of height x width
    /// x channels bytes, become `codes`, those of [`encode`](Self::encode) but for rounding.
    ///
    /// The metadata, all of whose keys begin with `lookalike.`, has how pictures are brought to the
    /// model's shape, the metric and the recipe. The same model gives the same bytes.
    pub fn to_onnx(&self) -> Vec<u8> {
        let shape = self.shape();
        let mut graph = Graph::new();
        let images = graph.input(INPUT);
        let to_floats = Attribute::Integer("to", 1);
        let images = graph.node_with("Cast", &[&images], &[to_floats]);
        let planes = network::transpose(&mut graph, &images, &network::TO_PLANES);

        let normalises = self.config().normalises_input();
        let input = network::input(&mut graph, &planes, normalises);
        let folded = fold(self.plan(), self.weights());
        let learned = network::encoder(&mut graph, &folded, &input);
        let seen = self.seen_parts(&mut graph, &images, &planes);
        let codes = match seen.is_empty() {
            true => learned,
            false => {
                let length = direct::length(&mut graph, &learned);
                let least = graph.number(MIN_LENGTH);
                let length = graph.node("Max", &[&length, &least]);
                let learned = graph.node("Div", &[&learned, &length]);
                let parts: Vec<&Value> = [&learned].into_iter().chain(&seen).collect();
                graph.node_with("Concat", &parts, &[Attribute::Integer("axis", 1)])
            }
        };
        let description = format!(
            "Codes of images of {} x {} pixels, {}. Made by Lookalike.",
            shape.width,
            shape.height,
            match shape.channels {
                1 => "grey",
                _ => "red, green and blue",
            }
        );
        graph.finish(
            &codes,
            &About {
                input: INPUT,
                image: [shape.height, shape.width, shape.channels],
                output: OUTPUT,
                dims: self.code_dim(),
                description: &description,
                metadata: &self.onnx_metadata(),
            },
        )
    }

    /// What stands in codes behind what the network says.
    fn seen_parts(&self, graph: &mut Graph, images: &Value, planes: &Value) -> Vec<Value> {
        let shape = self.shape();
        let pixels = shape.height * shape.width;
        if let Some(direct) = self.direct() {
            let mut parts = vec![direct::look(graph, planes, direct)];
            if let Some(colours) = &direct.colours {
                let shares = direct::colour_shares(graph, images, pixels, FINE_COLOUR_BINS);
                parts.push(direct::project(graph, &shares, colours));
            }
            return parts;
        }
        let weight = self.config().colour_weight;
        if weight == 0.0 {
            return Vec::new();
        }
        let shares = direct::colour_shares(graph, images, pixels, COLOUR_BINS);
        let weight = graph.number(weight);
        vec![graph.node("Mul", &[&shares, &weight])]
    }

    fn onnx_metadata(&self) -> Vec<(String, String)> {
        let [red, green, blue] = WHITE;
        let mut metadata = vec![
            ("format", FORMAT.to_string()),
            ("fit", self.fit().to_string()),
            ("background", format!("{red},{green},{blue}")),
        ];
        if let Some(range) = self.record().grey_range {
            metadata.push(("grey_range", range.to_string()));
        }
        let recipe = serde_json::to_string(self.config()).expect("a recipe serialises");
        metadata.extend([
            ("metric", self.metric().name().to_owned()),
            ("model", blake3::hash(&self.to_bytes()).to_hex().to_string()),
            ("recipe", recipe),
        ]);
        let named = |(key, value)| (format!("lookalike.{key}"), value);
        metadata.into_iter().map(named).collect()
    }
}
