//! Diffusion against its definition, and the offline form against the dense one.

use lookalike_neighbours::{
    Codes, DiffusionConfig, DiffusionRows, KnnGraph, Metric, map_diffused, nearest, nearest_others,
};

/// Two half circles that reach into each other, 150 points each.
fn moons() -> Vec<f32> {
    (0..300)
        .flat_map(|i| {
            let angle = (i % 150) as f32 / 149.0 * std::f32::consts::PI;
            let wobble = ((i * 7919 % 97) as f32 / 96.0 - 0.5) * 0.1;
            match i < 150 {
                true => [angle.cos(), angle.sin() + wobble],
                false => [1.0 - angle.cos(), 0.5 - angle.sin() + wobble],
            }
        })
        .collect()
}

fn config() -> DiffusionConfig {
    DiffusionConfig {
        neighbours: 6,
        steps: 200,
        kept: 300,
        truncate: 300,
        ..DiffusionConfig::default()
    }
}

fn dense(graph: &KnnGraph, config: &DiffusionConfig, start: &[(usize, f32)]) -> Vec<f32> {
    let mut scores =
        map_diffused(graph, config, 1, |_| start.to_vec(), |_, row| row.to_vec()).unwrap();
    scores.remove(0)
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= 1e-5 * largest, "{at}: {x} and {y}");
    }
}

#[test]
fn follows_its_definition() {
    let data = moons();
    let graph =
        KnnGraph::build(Codes::new(&data, 2).unwrap(), Metric::Euclidean, &config()).unwrap();
    let config = DiffusionConfig {
        steps: 30,
        ..config()
    };
    let start = [(17, 0.75), (200, 0.25)];
    let mut y = vec![0.0f64; 300];
    start.iter().for_each(|&(index, weight)| y[index] = weight);
    let alpha = f64::from(config.alpha);
    let mut f = y.clone();
    for _ in 0..config.steps {
        f = (0..300)
            .map(|row| {
                let (links, weights) = graph.row(row);
                let terms = links.iter().zip(weights);
                let flow: f64 = terms.map(|(&to, &w)| f64::from(w) * f[to as usize]).sum();
                alpha * flow + (1.0 - alpha) * y[row]
            })
            .collect();
    }
    let expected: Vec<f32> = f.iter().map(|&value| value as f32).collect();
    let start = start.map(|(index, weight)| (index, weight as f32));
    close(&dense(&graph, &config, &start), &expected);
}

#[test]
fn many_queries_side_by_side_are_as_one_alone_and_linear() {
    let data = moons();
    let config = config();
    let graph = KnnGraph::build(Codes::new(&data, 2).unwrap(), Metric::Cosine, &config).unwrap();
    let alone = |index| vec![(index, 1.0)];
    let all = map_diffused(&graph, &config, 300, alone, |query, row| {
        (query, row.to_vec())
    });
    let all: Vec<Vec<f32>> = all
        .unwrap()
        .into_iter()
        .enumerate()
        .map(|(at, (query, row))| {
            assert_eq!(at, query);
            row
        })
        .collect();
    close(&all[131], &dense(&graph, &config, &[(131, 1.0)]));
    let mixed: Vec<f32> = (0..300)
        .map(|i| 0.3 * all[5][i] + 2.0 * all[240][i])
        .collect();
    close(&mixed, &dense(&graph, &config, &[(5, 0.3), (240, 2.0)]));
}

#[test]
fn the_own_moon_comes_first() {
    let data = moons();
    let codes = Codes::new(&data, 2).unwrap();
    let graph = KnnGraph::build(codes, Metric::Euclidean, &config()).unwrap();
    let rows = DiffusionRows::build(&graph, &config()).unwrap();
    let share = |own: usize, of: usize| own as f64 / of as f64;
    let by_distance = nearest_others(codes, Metric::Euclidean, 149);
    let (mut near, mut dense_own, mut offline_own) = (0, 0, 0);
    for (query, nearest) in by_distance.iter().enumerate() {
        let same = |index: usize| (index < 150) == (query < 150) && index != query;
        near += nearest.iter().filter(|n| same(n.index)).count();
        let scores = dense(&graph, &config(), &[(query, 1.0)]);
        let mut order: Vec<usize> = (0..300).filter(|&index| index != query).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        dense_own += order[..149].iter().filter(|&&index| same(index)).count();
        let offline = rows.rank(&[(query, 1.0)], 150);
        offline_own += offline.iter().filter(|(index, _)| same(*index)).count();
    }
    let all = 300 * 149;
    assert!(share(near, all) < 0.85, "{near}");
    assert!(share(dense_own, all) > 0.97, "{dense_own}");
    assert!(share(offline_own, all) > 0.97, "{offline_own}");
}

#[test]
fn the_offline_form_agrees_with_the_dense_one() {
    let data = moons();
    let codes = Codes::new(&data, 2).unwrap();
    let config = config();
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Manhattan] {
        let graph = KnnGraph::build(codes, metric, &config).unwrap();
        let rows = DiffusionRows::build(&graph, &config).unwrap();
        for query in [0, 150, 299] {
            let expected = dense(&graph, &config, &[(query, 1.0)]);
            let mut found = vec![0.0; 300];
            let (indices, scores) = rows.row(query);
            assert!(scores.is_sorted_by(|a, b| a >= b));
            for (&index, &score) in indices.iter().zip(scores) {
                found[index as usize] = score;
            }
            close(&expected, &found);
        }
        // A query from outside.
        let asked = [0.9, 0.6];
        let near = nearest(
            codes,
            Codes::new(&asked, 2).unwrap(),
            metric,
            config.neighbours,
        );
        let start = graph.start(&near[0]);
        assert!((start.iter().map(|(_, weight)| weight).sum::<f32>() - 1.0).abs() < 1e-5);
        let mut found = vec![0.0; 300];
        let ranked = rows.rank(&start, 300);
        assert!(ranked.is_sorted_by(|a, b| a.1 >= b.1));
        for &(index, score) in &ranked {
            found[index] = score;
        }
        close(&dense(&graph, &config, &start), &found);
        assert_eq!(rows.rank(&start, 7), ranked[..7]);
    }
}

#[test]
fn truncated_rows_keep_the_best() {
    let data = moons();
    let whole = config();
    let graph = KnnGraph::build(Codes::new(&data, 2).unwrap(), Metric::Euclidean, &whole).unwrap();
    let short = DiffusionConfig {
        kept: 10,
        truncate: 60,
        steps: 20,
        ..whole
    };
    let long = DiffusionConfig { steps: 20, ..whole };
    let rows = DiffusionRows::build(&graph, &short).unwrap();
    let mut shared = 0;
    for query in 0..300 {
        let (indices, _) = rows.row(query);
        assert_eq!(indices.len(), 10);
        let scores = dense(&graph, &long, &[(query, 1.0)]);
        let tenth = {
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            sorted[9]
        };
        let best = indices
            .iter()
            .filter(|&&index| scores[index as usize] >= tenth);
        shared += best.count();
    }
    assert!(shared as f64 / 3000.0 > 0.95, "{shared}");
}

#[test]
fn a_query_unlike_everything_starts_nowhere() {
    let data = [1.0, 0.0, 0.9, 0.1, 0.8, 0.2];
    let codes = Codes::new(&data, 2).unwrap();
    let graph = KnnGraph::build(codes, Metric::Cosine, &config()).unwrap();
    let asked = Codes::new(&[-1.0, 0.0], 2).unwrap();
    let near = nearest(codes, asked, Metric::Cosine, 3);
    assert!(graph.start(&near[0]).is_empty());
    let rows = DiffusionRows::build(&graph, &config()).unwrap();
    assert!(rows.rank(&[], 5).is_empty());
}
