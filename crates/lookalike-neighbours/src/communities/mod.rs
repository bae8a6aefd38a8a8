//! Groups of codes: communities of the neighbour graph, at every resolution.
//!
//! Codes are joined by how many neighbours they share (`weighted`, after Levine et al.,
//! *Data-driven phenotypic dissection of AML reveals progenitor-like cells that correlate with
//! prognosis*, Cell 2015). Communities maximise modularity with a resolution `γ` (Reichardt and
//! Bornholdt, *Statistical mechanics of community detection*, 2006), found by the algorithm of
//! Leiden (`leiden`): at a high resolution first, which gives many small ones. These are joined,
//! two at a time, in the order of the resolutions below which joining them raises modularity
//! (`tree`, after Bonald et al., *Hierarchical graph clustering using node pair sampling*, 2018).
//! Every cut of that tree is a division into groups: one by the number of groups that is wanted, or
//! by the range of resolutions, on a logarithmic scale, in which their number stays the same for
//! longest.

mod leiden;
mod tree;
mod weighted;

use self::tree::Tree;
use self::weighted::WeightedGraph;

/// Codes of a community at the resolution that the tree begins with, about.
const LEAF: usize = 50;
/// The lowest resolution that the tree begins with.
const MIN_RESOLUTION: f64 = 10.0;
/// Below this resolution groups are joined although there are fewer links between them than half of
/// what chance would give: no division of a collection begins there, unless one is asked for.
const MIN_CUT: f64 = 0.5;
/// Share of the codes that a division found by itself has in groups, at least.
const MIN_COVERED: f64 = 0.9;

/// How codes hang together: a tree of communities, to be cut into groups.
///
/// Near-linear in the number of codes. The result depends on the neighbours and their order alone.
#[derive(Clone, Debug)]
pub struct Communities {
    graph: WeightedGraph,
    /// The community of every code that the tree begins with.
    leaves: Vec<u32>,
    tree: Tree,
}

impl Communities {
    /// Finds the communities of codes whose nearest others are given, nearest first: 15 of each
    /// are a good number. Groups will have `min_size` codes at least.
    ///
    /// # Panics
    ///
    /// If a neighbour is not one of the codes, or there are more than `u32::MAX` of them.
    pub fn new(neighbours: &[Vec<u32>], min_size: usize) -> Self {
        let graph = WeightedGraph::of_neighbours(neighbours);
        let resolution = (graph.len() as f64 / LEAF as f64).max(MIN_RESOLUTION);
        let leaves = leiden::communities(&graph, resolution);
        let count = leaves.iter().map(|&leaf| leaf as usize + 1).max();
        let joined = graph.joined(&leaves, count.unwrap_or(0));
        let mut sizes = vec![0; joined.len()];
        leaves.iter().for_each(|&leaf| sizes[leaf as usize] += 1);
        let tree = Tree::new(&joined, &sizes, min_size.max(1), resolution);
        Self {
            graph,
            leaves,
            tree,
        }
    }

    /// How many groups [`divided`](Self::divided) can give at most.
    pub fn max_count(&self) -> usize {
        match self.tree.is_empty() {
            true => 0,
            false => self.tree.splits().len() + 1,
        }
    }

    /// The groups that stand out: those whose number stays the same over the longest range of
    /// resolutions. As [`divided`](Self::divided) otherwise.
    pub fn natural(&self) -> Vec<Option<u32>> {
        let splits = self.tree.splits();
        let mut best = (0.0, 1);
        let mut from = MIN_CUT;
        for count in 1..=self.max_count() {
            let to = splits
                .get(count - 1)
                .map_or(self.tree.resolution(), |&split| split);
            if to <= from {
                continue;
            }
            let length = (to / from).ln();
            if length > best.0 && self.covers_most(count, (from * to).sqrt()) {
                best = (length, count);
            }
            from = to;
        }
        self.divided(best.1)
    }

    /// The group of every code when there are to be `count` groups, or as many as there can be.
    /// Groups are numbered from 0 by their size, the largest first, of equal ones that with the
    /// first code. Codes that hang together with fewer others than a group must have are in none.
    pub fn divided(&self, count: usize) -> Vec<Option<u32>> {
        let count = count.clamp(1, self.max_count().max(1));
        let cut = self.cut(count);
        let roots = self.tree.cut(count, cut);
        let of_leaves = self.tree.leaves_under(&roots);
        let before: Vec<u32> = self
            .leaves
            .iter()
            .map(|&leaf| of_leaves[leaf as usize])
            .collect();
        // The tree joins whole communities; now every code goes where it has most links. Those in
        // no group have a community of their own each leaf, and may join a group.
        let groups = roots.len();
        let mut moved: Vec<u32> = before
            .iter()
            .zip(&self.leaves)
            .map(|(&group, &leaf)| match group {
                tree::NONE => groups as u32 + leaf,
                group => group,
            })
            .collect();
        leiden::settle(&self.graph, &mut moved, cut);
        let mut sizes = vec![0; groups];
        for &group in moved.iter().filter(|&&group| (group as usize) < groups) {
            sizes[group as usize] += 1;
        }
        let found = match sizes.iter().all(|&size| size >= self.tree.min_size()) {
            true => moved,
            false => before,
        };
        by_size(&found, groups)
    }

    /// How much of each code's links leads to codes of its own group, 0 to 1; 0 for those in none.
    ///
    /// # Panics
    ///
    /// If `groups` are not as many as the codes.
    pub fn belonging(&self, groups: &[Option<u32>]) -> Vec<f32> {
        assert_eq!(
            groups.len(),
            self.graph.len(),
            "the groups are of other codes"
        );
        let share = |code: usize| {
            let Some(own) = groups[code] else { return 0.0 };
            let (mut within, mut all) = (0.0, 0.0);
            for (other, weight) in self.graph.links(code) {
                all += weight;
                within += if groups[other] == Some(own) {
                    weight
                } else {
                    0.0
                };
            }
            if all > 0.0 {
                (within / all) as f32
            } else {
                0.0
            }
        };
        (0..groups.len()).map(share).collect()
    }

    /// The resolution in the middle of those at which there are `count` groups.
    fn cut(&self, count: usize) -> f64 {
        let splits = self.tree.splits();
        let to = splits
            .get(count - 1)
            .map_or(self.tree.resolution(), |&split| split);
        let from = match count {
            1 => 0.0,
            count => splits[count - 2],
        };
        // Where both are on one side of what is usual, the nearer one counts.
        (from.max(MIN_CUT.min(to)) * to).sqrt()
    }

    /// Whether most codes are in one of these groups.
    fn covers_most(&self, count: usize, cut: f64) -> bool {
        let roots = self.tree.cut(count, cut);
        let covered: usize = roots.iter().map(|&root| self.tree.size(root)).sum();
        covered as f64 >= MIN_COVERED * self.graph.len() as f64
    }
}

/// Numbers groups by their size; what is `groups` or more is none.
fn by_size(found: &[u32], groups: usize) -> Vec<Option<u32>> {
    let mut known = vec![(0usize, usize::MAX); groups];
    for (code, &group) in found.iter().enumerate() {
        if let Some((size, first)) = known.get_mut(group as usize) {
            *size += 1;
            *first = code.min(*first);
        }
    }
    let mut order: Vec<usize> = (0..groups).collect();
    order.sort_by_key(|&group| (std::cmp::Reverse(known[group].0), known[group].1));
    let mut numbers = vec![0; groups];
    for (number, &group) in (0..).zip(&order) {
        numbers[group] = number;
    }
    let number = |&group: &u32| numbers.get(group as usize).copied();
    found.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codes, Metric, nearest_others};

    /// Codes around points on a line, `spread` wide and 1 apart, in so many dimensions; how many
    /// around each.
    fn line(sizes: &[usize], spread: f32, dims: usize) -> Vec<Vec<u32>> {
        let mut state = 7;
        let mut random = || spread / 2.0 * crate::pca::random(&mut state) as f32;
        let mut data = Vec::new();
        for (at, &size) in sizes.iter().enumerate() {
            for _ in 0..size {
                data.push(at as f32 + random());
                data.extend((1..dims).map(|_| random()));
            }
        }
        let codes = Codes::new(&data, dims).unwrap();
        let found = nearest_others(codes, Metric::Euclidean, 15);
        let indices =
            |others: Vec<crate::Neighbour>| others.iter().map(|other| other.index as u32).collect();
        found.into_iter().map(indices).collect()
    }

    #[test]
    fn what_stands_apart_is_a_group_and_the_largest_is_the_first() {
        let communities = Communities::new(&line(&[100, 300, 200, 250], 0.3, 16), 5);
        let groups = communities.natural();
        for (codes, number) in [(0..100, 3), (100..400, 0), (400..600, 2), (600..850, 1)] {
            assert!(groups[codes].iter().all(|&group| group == Some(number)));
        }
        let belonging = communities.belonging(&groups);
        assert!(belonging.iter().all(|&share| share > 0.99));
    }

    #[test]
    fn as_many_groups_as_are_asked_for() {
        let communities = Communities::new(&line(&[400, 400], 1.2, 2), 5);
        assert!(communities.max_count() >= 8, "{}", communities.max_count());
        for count in [1, 2, 5, 8] {
            let groups = communities.divided(count);
            let mut sizes = vec![0; count];
            groups
                .iter()
                .flatten()
                .for_each(|&group| sizes[group as usize] += 1);
            assert!(sizes.iter().all(|&size| size >= 5), "{sizes:?}");
            assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        }
        let halves = communities.divided(2);
        let same = (0..400).filter(|&code| halves[code] == halves[0]).count();
        assert!(same > 350, "{same}");
    }

    #[test]
    fn too_few_are_no_group() {
        // Three far away name each other and, of the others, what is nearest.
        let mut neighbours = line(&[200, 200], 0.3, 16);
        for _ in 0..3 {
            neighbours.push(vec![400, 401, 402]);
        }
        for (at, row) in neighbours[400..].iter_mut().enumerate() {
            row.remove(at);
        }
        let groups = Communities::new(&neighbours, 5).natural();
        assert_eq!(groups.iter().flatten().max(), Some(&1));
        assert_eq!(groups[400..], [None; 3]);
        assert!(groups[..400].iter().all(Option::is_some));
    }

    #[test]
    fn few_or_no_codes_do_no_harm() {
        assert_eq!(Communities::new(&[], 5).natural(), []);
        assert_eq!(Communities::new(&[], 5).max_count(), 0);
        assert_eq!(Communities::new(&[vec![]], 5).natural(), [None]);
        let pair = Communities::new(&[vec![1], vec![0]], 2);
        assert_eq!(pair.natural(), [Some(0); 2]);
        assert_eq!(pair.divided(7), [Some(0); 2]);
    }
}
