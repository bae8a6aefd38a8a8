//! A graph with weights on its links.

/// Undirected, with links of every node in ascending order.
#[derive(Clone, Debug)]
pub(super) struct WeightedGraph {
    /// Where the links of each node begin, and where the last ones end.
    starts: Vec<usize>,
    others: Vec<u32>,
    weights: Vec<f64>,
    /// Weight of the links within each node: of what was joined to make it.
    within: Vec<f64>,
    /// Weight of all ends of links at each node, both ends of those within it.
    volumes: Vec<f64>,
    /// The sum of these.
    total: f64,
}

impl WeightedGraph {
    /// Joins each code to its nearest others by the share of their neighbours (themselves among
    /// them) that they have in common: the size of the intersection over that of the union.
    pub fn of_neighbours(neighbours: &[Vec<u32>]) -> Self {
        let count = neighbours.len();
        assert!(u32::try_from(count).is_ok(), "codes are counted in 32 bits");
        let around: Vec<Vec<u32>> = neighbours
            .iter()
            .enumerate()
            .map(|(code, near)| {
                let mut around = near.clone();
                around.push(code as u32);
                around.sort_unstable();
                around.dedup();
                around
            })
            .collect();
        // A pair is linked once, whether one names the other or each the other.
        let mut linked: Vec<Vec<(u32, f64)>> = vec![Vec::new(); count];
        for (code, near) in around.iter().enumerate() {
            for &other in near.iter().filter(|&&other| other as usize != code) {
                let theirs = &around[other as usize];
                if (other as usize) < code && theirs.binary_search(&(code as u32)).is_ok() {
                    continue;
                }
                let common = count_common(near, theirs);
                let weight = common as f64 / (near.len() + theirs.len() - common) as f64;
                linked[code].push((other, weight));
                linked[other as usize].push((code as u32, weight));
            }
        }
        Self::new(linked, vec![0.0; count])
    }

    /// A graph of the links of every node, each link at both of its ends.
    fn new(linked: Vec<Vec<(u32, f64)>>, within: Vec<f64>) -> Self {
        let links = linked.iter().map(Vec::len).sum();
        let mut graph = Self {
            starts: Vec::with_capacity(linked.len() + 1),
            others: Vec::with_capacity(links),
            weights: Vec::with_capacity(links),
            volumes: Vec::with_capacity(linked.len()),
            within,
            total: 0.0,
        };
        graph.starts.push(0);
        for (node, mut links) in linked.into_iter().enumerate() {
            links.sort_unstable_by_key(|&(other, _)| other);
            let outside: f64 = links.iter().map(|&(_, weight)| weight).sum();
            graph.volumes.push(outside + 2.0 * graph.within[node]);
            graph.others.extend(links.iter().map(|&(other, _)| other));
            graph
                .weights
                .extend(links.iter().map(|&(_, weight)| weight));
            graph.starts.push(graph.others.len());
        }
        graph.total = graph.volumes.iter().sum();
        graph
    }

    /// The graph of parts, `part` telling that of each node, below `count`.
    pub fn joined(&self, part: &[u32], count: usize) -> Self {
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); count];
        for (node, &part) in part.iter().enumerate() {
            members[part as usize].push(node as u32);
        }
        let mut within = vec![0.0; count];
        let mut linked = Vec::with_capacity(count);
        let mut sums = Sums::new(count);
        for (own, nodes) in members.iter().enumerate() {
            for &node in nodes {
                within[own] += self.within[node as usize];
                for (other, weight) in self.links(node as usize) {
                    sums.add(part[other], weight);
                }
            }
            let mut links = Vec::with_capacity(sums.parts().len());
            for &other in sums.parts() {
                match other as usize == own {
                    // Seen from both ends.
                    true => within[own] += sums.of(other) / 2.0,
                    false => links.push((other, sums.of(other))),
                }
            }
            sums.clear();
            linked.push(links);
        }
        Self::new(linked, within)
    }

    pub fn len(&self) -> usize {
        self.volumes.len()
    }

    /// A node's links: the other ends, and the weights.
    pub fn links(&self, node: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let links = self.starts[node]..self.starts[node + 1];
        let others = self.others[links.clone()]
            .iter()
            .map(|&other| other as usize);
        others.zip(self.weights[links].iter().copied())
    }

    pub fn volume(&self, node: usize) -> f64 {
        self.volumes[node]
    }

    /// The volume of all nodes.
    pub fn total(&self) -> f64 {
        self.total
    }
}

/// Sums of weights by part, cleared at the cost of those that were added to.
pub(super) struct Sums {
    sums: Vec<f64>,
    parts: Vec<u32>,
}

impl Sums {
    pub fn new(parts: usize) -> Self {
        Self {
            sums: vec![0.0; parts],
            parts: Vec::new(),
        }
    }

    /// Adds a weight above 0.
    pub fn add(&mut self, part: u32, weight: f64) {
        let sum = &mut self.sums[part as usize];
        if *sum == 0.0 {
            self.parts.push(part);
        }
        *sum += weight;
    }

    pub fn of(&self, part: u32) -> f64 {
        self.sums[part as usize]
    }

    /// The parts that were added to.
    pub fn parts(&self) -> &[u32] {
        &self.parts
    }

    pub fn clear(&mut self) {
        for part in self.parts.drain(..) {
            self.sums[part as usize] = 0.0;
        }
    }
}

/// How many values two ascending lists have in common.
fn count_common(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        common += usize::from(a[i] == b[j]);
        let (left, right) = (a[i], b[j]);
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_weigh_what_is_shared() {
        let graph = WeightedGraph::of_neighbours(&[vec![1, 2], vec![0, 2], vec![1, 3], vec![2, 1]]);
        let links = |node| graph.links(node).collect::<Vec<_>>();
        // 0 and 1 see 0, 1 and 2; 2 sees 1, 2 and 3, as 3 does.
        assert_eq!(links(0), [(1, 1.0), (2, 0.5)]);
        assert_eq!(links(3), [(1, 0.5), (2, 1.0)]);
        let joined = graph.joined(&[0, 0, 1, 1], 2);
        // 0-2, 1-2 and 1-3 lead across.
        assert_eq!(joined.links(0).collect::<Vec<_>>(), [(1, 1.5)]);
        assert_eq!((joined.volume(0), joined.volume(1)), (3.5, 3.5));
        assert_eq!(joined.total(), graph.total());
    }
}
