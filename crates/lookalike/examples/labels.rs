//! Scores groups, suggested labels and suspected mistakes of a gallery by its labels.
//!
//! ```sh
//! lookalike index mnist:test --model m --gallery test.gallery
//! cargo run --release -p lookalike --example labels -- groups test.gallery [COUNT]
//! cargo run --release -p lookalike --example labels -- suggest test.gallery [SEED]
//! cargo run --release -p lookalike --example labels -- growth 60000 100000 200000
//! ```
//!
//! `groups` gives normalised mutual information (by the mean of the entropies) and the adjusted
//! Rand index, images in no group each counting as a group of their own. `suggest` hides all labels
//! but some drawn by lot, and in a second table swaps 5 % of all labels for others. `growth` takes
//! the time of grouping so many codes: 200 heaps of normal deviates in 128 dimensions.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::Instant;

use lookalike::gallery::{Gallery, Points};
use lookalike::groups::{self, GroupOptions};
use lookalike::neighbours::{Cells, Codes, Communities, Metric};
use lookalike::open_gallery;
use lookalike::suggest::{self, SUSPECT_CONFIDENCE, SuggestOptions, Suggestion};
use uuid::Uuid;

const USAGE: &str = "usage: labels groups|suggest GALLERY [NUMBER], labels growth COUNT…";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, rest) = arguments.split_first().ok_or(USAGE)?;
    if what == "growth" {
        return rest.iter().try_for_each(|count| growth(count.parse()?));
    }
    let (name, rest) = rest.split_first().ok_or(USAGE)?;
    let number = rest.first().map(|number| number.parse()).transpose()?;
    let gallery = open_gallery(name)?;
    match what.as_str() {
        "groups" => score_groups(&*gallery, number),
        "suggest" => score_suggestions(&*gallery, number.unwrap_or(0) as u64),
        _ => Err(USAGE.into()),
    }
}

/// The labels of a gallery's points.
fn labels(gallery: &dyn Gallery) -> Result<BTreeMap<Uuid, String>, Box<dyn Error>> {
    let mut labels = BTreeMap::new();
    for point in Points::new(gallery, None) {
        let point = point?;
        labels.extend(point.payload.label.map(|label| (point.id, label)));
    }
    Ok(labels)
}

fn score_groups(gallery: &dyn Gallery, count: Option<usize>) -> Result<(), Box<dyn Error>> {
    let labels = labels(gallery)?;
    let options = GroupOptions {
        count,
        ..GroupOptions::default()
    };
    let began = Instant::now();
    let mut compared = None;
    let found = groups::find(gallery, &options, |progress| {
        if progress.phase.as_str() == "grouping" {
            compared.get_or_insert(began.elapsed());
        }
    })?;
    let (all, compared) = (began.elapsed(), compared.unwrap_or_default());
    let mut of: HashMap<Uuid, usize> = HashMap::new();
    for group in &found.groups {
        of.extend(group.members.iter().map(|member| (member.id, group.number)));
    }
    let mut alone = found.groups.len();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let pairs: Vec<(usize, usize)> = labels
        .iter()
        .map(|(id, label)| {
            let next = numbers.len();
            let label = *numbers.entry(label).or_insert(next);
            let group = of.get(id).copied().unwrap_or_else(|| {
                alone += 1;
                alone
            });
            (group, label)
        })
        .collect();
    println!(
        "{} images, {} labels: {} groups, {} in none, NMI {:.3}, ARI {:.3}; {:.1} s, {:.1} s of them grouping",
        found.points,
        numbers.len(),
        found.groups.len(),
        found.ungrouped,
        mutual_information(&pairs),
        adjusted_rand(&pairs),
        all.as_secs_f64(),
        (all - compared).as_secs_f64(),
    );
    Ok(())
}

/// How often each pair, and each of its halves, occurs.
type Counts = (
    HashMap<(usize, usize), f64>,
    HashMap<usize, f64>,
    HashMap<usize, f64>,
);

fn counts(pairs: &[(usize, usize)]) -> Counts {
    let mut counts = Counts::default();
    for &(a, b) in pairs {
        *counts.0.entry((a, b)).or_default() += 1.0;
        *counts.1.entry(a).or_default() += 1.0;
        *counts.2.entry(b).or_default() += 1.0;
    }
    counts
}

fn mutual_information(pairs: &[(usize, usize)]) -> f64 {
    let all = pairs.len() as f64;
    let (both, a, b) = counts(pairs);
    let entropy = |counts: &HashMap<usize, f64>| -> f64 {
        counts.values().map(|n| -n / all * (n / all).ln()).sum()
    };
    let shared = both
        .iter()
        .map(|((i, j), n)| n / all * (n * all / (a[i] * b[j])).ln());
    2.0 * shared.sum::<f64>() / (entropy(&a) + entropy(&b)).max(f64::MIN_POSITIVE)
}

fn adjusted_rand(pairs: &[(usize, usize)]) -> f64 {
    let two = |n: &f64| n * (n - 1.0) / 2.0;
    let (both, a, b) = counts(pairs);
    let found: f64 = both.values().map(two).sum();
    let (a, b): (f64, f64) = (a.values().map(two).sum(), b.values().map(two).sum());
    let expected = a * b / two(&(pairs.len() as f64));
    (found - expected) / ((a + b) / 2.0 - expected)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits % end as u64) as usize
    }

    /// Some of the ids, in any order.
    fn draw(&mut self, ids: &[Uuid], count: usize) -> Vec<Uuid> {
        let mut ids = ids.to_vec();
        for at in 0..count {
            let other = at + self.below(ids.len() - at);
            ids.swap(at, other);
        }
        ids.truncate(count);
        ids
    }

    /// About normal, by the sum of twelve.
    fn normal(&mut self) -> f32 {
        let uniform = |random: &mut Self| random.below(1 << 24) as f32 / (1 << 24) as f32;
        (0..12).map(|_| uniform(self)).sum::<f32>() - 6.0
    }
}

fn score_suggestions(gallery: &dyn Gallery, seed: u64) -> Result<(), Box<dyn Error>> {
    let labels = labels(gallery)?;
    let ids: Vec<Uuid> = labels.keys().copied().collect();
    let mut random = Random(seed);
    let ask = |given: BTreeMap<String, String>| {
        let options = SuggestOptions {
            given,
            own: false,
            ..SuggestOptions::default()
        };
        suggest::find(gallery, &options, |_| {})
    };
    println!(
        "| labelled | right | confidence: mean | off by | of .95 and more | right |\n|---|---|---|---|---|---|"
    );
    for percent in [1, 5, 20] {
        let known = random.draw(&ids, ids.len() * percent / 100);
        let given = known.iter().map(|id| (id.to_string(), labels[id].clone()));
        let found = ask(given.collect())?.suggestions;
        let is_right = |one: &&Suggestion| one.suggested == labels[&one.id];
        let share = |some: &[&Suggestion]| {
            some.iter().filter(|one| is_right(one)).count() as f64 / some.len().max(1) as f64
        };
        let all: Vec<&Suggestion> = found.iter().collect();
        let sure: Vec<&Suggestion> = found.iter().filter(|one| one.confidence >= 0.95).collect();
        let mean: f64 =
            all.iter().map(|one| f64::from(one.confidence)).sum::<f64>() / all.len() as f64;
        println!(
            "| {percent} % | {:.3} | {mean:.3} | {:.3} | {:.3} | {:.3} |",
            share(&all),
            calibration_error(&all, &|one| is_right(&one)),
            sure.len() as f64 / all.len() as f64,
            share(&sure),
        );
    }
    let names: Vec<&String> = {
        let mut names: Vec<&String> = labels.values().collect();
        names.sort();
        names.dedup();
        names
    };
    let mut given: BTreeMap<Uuid, String> = labels.clone();
    let swapped = random.draw(&ids, ids.len() / 20);
    for id in &swapped {
        let others: Vec<&&String> = names.iter().filter(|name| ***name != labels[id]).collect();
        given.insert(*id, others[random.below(others.len())].to_string());
    }
    let is_swapped = |one: &&Suggestion| given[&one.id] != labels[&one.id];
    let found = ask(given
        .iter()
        .map(|(id, label)| (id.to_string(), label.clone()))
        .collect())?;
    println!(
        "\n5 % of {} labels swapped: neighbours confirm {:.3} of the labels\n",
        ids.len(),
        found.agreement.unwrap_or(0.0)
    );
    println!(
        "| confidence at least | suspected | precision | recall | right label suggested |\n|---|---|---|---|---|"
    );
    for cut in [SUSPECT_CONFIDENCE, 0.85, 0.9] {
        let some: Vec<&Suggestion> = found
            .mistakes
            .iter()
            .filter(|one| one.confidence >= cut)
            .collect();
        let right = some.iter().filter(|one| is_swapped(one)).count() as f64;
        let mended = some
            .iter()
            .filter(|one| is_swapped(one) && one.suggested == labels[&one.id]);
        println!(
            "| {cut} | {} | {:.3} | {:.3} | {:.3} |",
            some.len(),
            right / some.len().max(1) as f64,
            right / swapped.len() as f64,
            mended.count() as f64 / right.max(1.0),
        );
    }
    Ok(())
}

/// The expected calibration error: over ten ranges of confidence, how far the mean confidence is
/// from the share of those that are right.
fn calibration_error(all: &[&Suggestion], is_right: &dyn Fn(&Suggestion) -> bool) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); 10];
    for one in all {
        let bin = &mut bins[((one.confidence * 10.0) as usize).min(9)];
        bin.0 += f64::from(one.confidence);
        bin.1 += f64::from(u8::from(is_right(one)));
    }
    let off = bins
        .iter()
        .map(|(confidence, right)| (confidence - right).abs());
    off.sum::<f64>() / all.len() as f64
}

/// The time of grouping codes that need not be read.
fn growth(count: usize) -> Result<(), Box<dyn Error>> {
    const HEAPS: usize = 200;
    const DIMS: usize = 128;
    let mut random = Random(count as u64);
    let heaps: Vec<f32> = (0..HEAPS * DIMS).map(|_| random.normal()).collect();
    let mut data = Vec::with_capacity(count * DIMS);
    for _ in 0..count {
        let heap = DIMS * random.below(HEAPS);
        data.extend(
            heaps[heap..heap + DIMS]
                .iter()
                .map(|middle| middle + random.normal()),
        );
    }
    let codes = Codes::new(&data, DIMS)?;
    let began = Instant::now();
    let found = Cells::new(codes, Metric::Cosine).nearest_others(15, |_| {});
    let compared = began.elapsed().as_secs_f64();
    let neighbours: Vec<Vec<u32>> = found
        .into_iter()
        .map(|others| others.iter().map(|other| other.index as u32).collect())
        .collect();
    let began = Instant::now();
    let communities = Communities::new(&neighbours, 5);
    let groups = communities
        .natural()
        .into_iter()
        .flatten()
        .max()
        .map_or(0, |last| last + 1);
    let grouped = began.elapsed().as_secs_f64();
    println!(
        "{count} codes: {groups} groups; {compared:.1} s for neighbours, {grouped:.1} s for groups"
    );
    Ok(())
}
