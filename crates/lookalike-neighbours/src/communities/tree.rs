//! Communities joined two at a time.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::weighted::WeightedGraph;

/// In place of a group: none.
pub(super) const NONE: u32 = u32::MAX;

/// Nodes are numbered: first the leaves, then what was joined, in that order.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    leaves: usize,
    joins: Vec<Join>,
    /// Codes of every node.
    sizes: Vec<usize>,
    min_size: usize,
    /// At which the leaves were found.
    resolution: f64,
    /// The resolutions at which one group becomes two, ascending.
    splits: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Join {
    children: [usize; 2],
    /// Below this the two are better one; 0 where nothing links them.
    resolution: f64,
}

/// Two nodes and how soon they are joined. The versions tell whether either has been joined with
/// another meanwhile.
struct Pair {
    resolution: f64,
    nodes: [usize; 2],
    versions: [u32; 2],
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let sooner = self.resolution.total_cmp(&other.resolution);
        sooner.then_with(|| other.nodes.cmp(&self.nodes))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl Tree {
    /// Joins the nodes of a graph, always the two whose joining raises modularity at the highest
    /// resolution: `weight between them x total / (volume x volume)`. What is joined never goes
    /// together with a third at a higher resolution than that of the two.
    pub fn new(graph: &WeightedGraph, sizes: &[usize], min_size: usize, resolution: f64) -> Self {
        let mut tree = Self {
            leaves: graph.len(),
            joins: Vec::new(),
            sizes: sizes.to_vec(),
            min_size,
            resolution,
            splits: Vec::new(),
        };
        tree.join(graph);
        let splits = tree.joins.iter().filter(|join| tree.is_split(join));
        let mut splits: Vec<f64> = splits.map(|join| join.resolution).collect();
        splits.sort_by(f64::total_cmp);
        tree.splits = splits;
        tree
    }

    fn join(&mut self, graph: &WeightedGraph) {
        let count = graph.len();
        // A node of the tree lives in the place of one of its leaves.
        let mut nodes: Vec<usize> = (0..count).collect();
        let mut versions = vec![0u32; count];
        let mut volumes: Vec<f64> = (0..count).map(|node| graph.volume(node)).collect();
        let mut links: Vec<HashMap<usize, f64>> =
            (0..count).map(|node| graph.links(node).collect()).collect();
        let mut pairs = BinaryHeap::new();
        let resolution = |weight: f64, a: f64, b: f64| weight * graph.total() / (a * b);
        for node in 0..count {
            for (other, weight) in graph.links(node).filter(|&(other, _)| node < other) {
                pairs.push(Pair {
                    resolution: resolution(weight, volumes[node], volumes[other]),
                    nodes: [node, other],
                    versions: [0, 0],
                });
            }
        }
        let mut gone = vec![false; count];
        while let Some(pair) = pairs.pop() {
            let [a, b] = pair.nodes;
            if gone[a] || gone[b] || [versions[a], versions[b]] != pair.versions {
                continue;
            }
            // The one with fewer links moves in with the other.
            let (stays, goes) = match links[a].len() >= links[b].len() {
                true => (a, b),
                false => (b, a),
            };
            nodes[stays] = self.add([nodes[a], nodes[b]], pair.resolution);
            gone[goes] = true;
            volumes[stays] += volumes[goes];
            versions[stays] += 1;
            let moving = std::mem::take(&mut links[goes]);
            links[stays].remove(&goes);
            for (other, weight) in moving.into_iter().filter(|&(other, _)| other != stays) {
                links[other].remove(&goes);
                *links[other].entry(stays).or_default() += weight;
                *links[stays].entry(other).or_default() += weight;
            }
            for (&other, &weight) in &links[stays] {
                let nodes = [stays.min(other), stays.max(other)];
                pairs.push(Pair {
                    resolution: resolution(weight, volumes[stays], volumes[other]),
                    nodes,
                    versions: nodes.map(|node| versions[node]),
                });
            }
        }
        // What nothing links is joined in the end, beginning with the largest.
        let mut rest: Vec<usize> = (0..count)
            .filter(|&at| !gone[at])
            .map(|at| nodes[at])
            .collect();
        rest.sort_by_key(|&node| (std::cmp::Reverse(self.sizes[node]), node));
        let mut rest = rest.into_iter();
        if let Some(first) = rest.next() {
            rest.fold(first, |all, node| self.add([all, node], 0.0));
        }
    }

    /// Adds what two nodes are joined to.
    fn add(&mut self, children: [usize; 2], resolution: f64) -> usize {
        self.sizes
            .push(children.iter().map(|&child| self.sizes[child]).sum());
        self.joins.push(Join {
            children,
            resolution,
        });
        self.sizes.len() - 1
    }

    fn of(&self, node: usize) -> Option<&Join> {
        self.joins.get(node.checked_sub(self.leaves)?)
    }

    /// Whether two groups were joined, not a group and what is too small for one.
    fn is_split(&self, join: &Join) -> bool {
        join.children
            .iter()
            .all(|&child| self.sizes[child] >= self.min_size)
    }

    /// Whether there is no group at all.
    pub fn is_empty(&self) -> bool {
        self.sizes.last().is_none_or(|&all| all < self.min_size)
    }

    pub fn splits(&self) -> &[f64] {
        &self.splits
    }

    pub fn resolution(&self) -> f64 {
        self.resolution
    }

    pub fn min_size(&self) -> usize {
        self.min_size
    }

    /// Codes of a node.
    pub fn size(&self, node: usize) -> usize {
        self.sizes[node]
    }

    /// The nodes that are groups when the tree is divided into `count` of them, and what is too
    /// small and joined below the resolution `below` is cut off. A group that would fall apart into
    /// what is too small stays whole.
    pub fn cut(&self, count: usize, below: f64) -> Vec<usize> {
        if self.is_empty() {
            return Vec::new();
        }
        // A child is joined at no lower resolution than its parent, and has a lower number.
        let mut open = BinaryHeap::from([Open::new(self, self.sizes.len() - 1)]);
        let mut groups = Vec::new();
        while let Some(Open { node, resolution }) = open.pop() {
            let children = self.of(node).map_or([node; 2], |join| join.children);
            let large = |&child: &usize| child != node && self.sizes[child] >= self.min_size;
            let large: Vec<usize> = children.into_iter().filter(large).collect();
            let found = groups.len() + open.len() + 1;
            let divides = match large.len() {
                2 => found < count,
                1 => found < count || resolution < below || resolution == 0.0,
                _ => false,
            };
            match divides {
                true => open.extend(large.into_iter().map(|child| Open::new(self, child))),
                false => groups.push(node),
            }
        }
        groups
    }

    /// The place in `roots` of the node above each leaf, or [`NONE`].
    pub fn leaves_under(&self, roots: &[usize]) -> Vec<u32> {
        let mut of = vec![NONE; self.sizes.len()];
        for (group, &root) in (0..).zip(roots) {
            of[root] = group;
        }
        // Parents come after their children.
        for (at, join) in self.joins.iter().enumerate().rev() {
            let own = of[self.leaves + at];
            if own != NONE {
                join.children.iter().for_each(|&child| of[child] = own);
            }
        }
        of.truncate(self.leaves);
        of
    }
}

/// A node that may still be divided: that of the lowest resolution comes first.
struct Open {
    resolution: f64,
    node: usize,
}

impl Open {
    fn new(tree: &Tree, node: usize) -> Self {
        let resolution = tree.of(node).map_or(f64::INFINITY, |join| join.resolution);
        Self { resolution, node }
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = other.resolution.total_cmp(&self.resolution);
        lower.then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}
