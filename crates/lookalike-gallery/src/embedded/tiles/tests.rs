use lookalike_neighbours::Metric;

use super::*;

const DIMS: usize = 24;

/// Values between -1 and 1 that look random and are not.
fn code(seed: usize) -> Vec<f32> {
    let value = |at: usize| ((seed * 31 + at * 17) as f32 * 12.9898).sin();
    (0..DIMS).map(value).collect()
}

fn region(x: usize) -> Rectangle {
    Rectangle {
        x: x as u32,
        y: 0,
        width: 1,
        height: 1,
    }
}

fn tiles(content: usize, count: usize) -> Tiles {
    Tiles {
        regions: (0..count).map(region).collect(),
        codes: (0..count).flat_map(|at| code(content * 100 + at)).collect(),
    }
}

fn hash(content: usize) -> Hash {
    *blake3::hash(&content.to_le_bytes()).as_bytes()
}

#[test]
fn contents_come_in_the_order_of_their_best_tiles() {
    for metric in Metric::ALL {
        let mut kept = Kept::new(metric, DIMS);
        let mut all = Vec::new();
        for content in 0..150 {
            let tiles = tiles(content, content % 7);
            let bytes = tiles.to_bytes(DIMS).unwrap();
            kept.add(hash(content), unpack(&bytes, DIMS).unwrap());
            all.push(bytes);
        }
        assert_eq!(
            kept.len(),
            (0..150).map(|content| content % 7).sum::<usize>()
        );
        let query = code(7_777);
        let mut expected: Vec<(f32, Hash, u32)> = Vec::new();
        for (content, bytes) in all.iter().enumerate().filter(|(at, _)| at % 3 != 1) {
            let distances = unpack(bytes, DIMS).unwrap().map(|tile| {
                let floats = tile.numbers.iter().map(|&n| f32::from(n as i8) * tile.step);
                let distance = metric.distance(&query, &floats.collect::<Vec<_>>());
                (distance, hash(content), tile.region.x)
            });
            expected.extend(distances.min_by(|a, b| a.0.total_cmp(&b.0)));
        }
        expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for most in [0, 1, 10, 1_000] {
            let admits = |found: &Hash| !(0..150).any(|at| at % 3 == 1 && hash(at) == *found);
            let found = kept.nearest(&query, most, admits);
            let found: Vec<_> = found
                .iter()
                .map(|f| (f.distance, f.hash, f.region.x))
                .collect();
            assert_eq!(
                found,
                expected[..most.min(expected.len())],
                "{metric}, {most}"
            );
        }
    }
}

#[test]
fn a_query_of_zeros_finds_something() {
    for metric in Metric::ALL {
        let mut kept = Kept::new(metric, DIMS);
        let bytes = tiles(1, 3).to_bytes(DIMS).unwrap();
        kept.add(hash(1), unpack(&bytes, DIMS).unwrap());
        assert_eq!(kept.nearest(&[0.0; DIMS], 1, |_| true).len(), 1, "{metric}");
    }
}
