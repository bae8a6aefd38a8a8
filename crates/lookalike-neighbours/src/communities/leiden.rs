//! The algorithm of Leiden (Traag, Waltman and van Eck, *From Louvain to Leiden: guaranteeing
//! well-connected communities*, 2019), with the order of the nodes in place of chance.

use std::collections::VecDeque;

use super::weighted::{Sums, WeightedGraph};

/// Rounds, each beginning with what the one before found.
const MAX_ROUNDS: usize = 3;
/// Gains are links' weights; smaller ones are rounding.
const MIN_GAIN: f64 = 1e-12;

/// The community of every node, numbered from 0, such that modularity is high:
/// `Σ (weight within - γ volume² / (2 total))` over all communities.
pub(super) fn communities(graph: &WeightedGraph, resolution: f64) -> Vec<u32> {
    let mut found: Vec<u32> = (0..graph.len() as u32).collect();
    for _ in 0..MAX_ROUNDS {
        let next = round(graph, &found, resolution);
        if next == found {
            break;
        }
        found = next;
    }
    found
}

/// Moves nodes between the communities that there are until no move raises modularity. Communities
/// may be numbered in any way, and may end up empty.
pub(super) fn settle(graph: &WeightedGraph, communities: &mut [u32], resolution: f64) {
    move_nodes(graph, communities, resolution, false);
}

/// Moves nodes, joins what is well connected within each community, and goes on with what was
/// joined as nodes, until nothing moves.
fn round(graph: &WeightedGraph, from: &[u32], resolution: f64) -> Vec<u32> {
    let mut communities = from.to_vec();
    // The node of the graph of this level that each node of the first has become part of.
    let mut homes: Vec<u32> = (0..graph.len() as u32).collect();
    let mut level = graph.clone();
    loop {
        move_nodes(&level, &mut communities, resolution, true);
        let count = number(&mut communities);
        if count == level.len() {
            break;
        }
        let mut parts = refine(&level, &communities, resolution);
        let mut joined = number(&mut parts);
        if joined == level.len() {
            // Nothing was joined for certain: whole communities are.
            (parts, joined) = (communities.clone(), count);
        }
        let mut next = vec![0; joined];
        for (&part, &community) in parts.iter().zip(&communities) {
            next[part as usize] = community;
        }
        homes
            .iter_mut()
            .for_each(|home| *home = parts[*home as usize]);
        level = level.joined(&parts, joined);
        communities = next;
    }
    let mut found: Vec<u32> = homes
        .iter()
        .map(|&home| communities[home as usize])
        .collect();
    number(&mut found);
    found
}

/// Numbers communities in the order of their first nodes; says how many there are.
fn number(communities: &mut [u32]) -> usize {
    let most = communities.iter().map(|&old| old as usize + 1).max();
    let mut numbers = vec![u32::MAX; most.unwrap_or(0)];
    let mut next = 0;
    for community in communities {
        let number = &mut numbers[*community as usize];
        if *number == u32::MAX {
            *number = next;
            next += 1;
        }
        *community = *number;
    }
    next as usize
}

/// Moves every node to the community where it raises modularity most, or to one of its `own` where
/// that is better; then those again whose neighbours have moved.
fn move_nodes(graph: &WeightedGraph, communities: &mut [u32], resolution: f64, own: bool) {
    let most = communities.iter().map(|&community| community as usize + 1);
    let most = most.max().unwrap_or(0).max(graph.len());
    let mut volumes = vec![0.0; most];
    let mut sizes = vec![0u32; most];
    for (node, &community) in communities.iter().enumerate() {
        volumes[community as usize] += graph.volume(node);
        sizes[community as usize] += 1;
    }
    let mut empty: Vec<u32> = (0..most as u32)
        .filter(|&at| sizes[at as usize] == 0)
        .collect();
    let mut waiting: VecDeque<usize> = (0..graph.len()).collect();
    let mut waits = vec![true; graph.len()];
    let mut links = Sums::new(most);
    while let Some(node) = waiting.pop_front() {
        waits[node] = false;
        for (other, weight) in graph.links(node) {
            links.add(communities[other], weight);
        }
        let before = communities[node];
        let volume = graph.volume(node);
        volumes[before as usize] -= volume;
        let gain =
            |to: u32| links.of(to) - resolution * volume * volumes[to as usize] / graph.total();
        let mut best = (before, gain(before));
        for &to in links.parts() {
            let gain = gain(to);
            if gain > best.1 + MIN_GAIN {
                best = (to, gain);
            }
        }
        if own && best.1 < -MIN_GAIN {
            while let Some(&free) = empty.last()
                && sizes[free as usize] > 0
            {
                empty.pop();
            }
            best.0 = empty.last().copied().unwrap_or(best.0);
        }
        links.clear();
        let after = best.0;
        volumes[after as usize] += volume;
        if after == before {
            continue;
        }
        communities[node] = after;
        sizes[after as usize] += 1;
        sizes[before as usize] -= 1;
        if sizes[before as usize] == 0 {
            empty.push(before);
        }
        for (other, _) in graph.links(node) {
            if communities[other] != after && !waits[other] {
                waits[other] = true;
                waiting.push_back(other);
            }
        }
    }
}

/// Parts of communities: nodes that are well connected with the rest of their community join parts
/// of it that are.
fn refine(graph: &WeightedGraph, communities: &[u32], resolution: f64) -> Vec<u32> {
    let count = graph.len();
    let mut whole = vec![0.0; count];
    for (node, &community) in communities.iter().enumerate() {
        whole[community as usize] += graph.volume(node);
    }
    let mut parts: Vec<u32> = (0..count as u32).collect();
    let mut sizes = vec![1u32; count];
    let mut volumes: Vec<f64> = (0..count).map(|node| graph.volume(node)).collect();
    let fellow = |node: usize, other: usize| communities[other] == communities[node];
    // Of each part, the weight of its links to the rest of its community.
    let mut outward: Vec<f64> = (0..count)
        .map(|node| {
            let fellows = graph.links(node).filter(|&(other, _)| fellow(node, other));
            fellows.map(|(_, weight)| weight).sum()
        })
        .collect();
    let mut links = Sums::new(count);
    for node in 0..count {
        let own = parts[node];
        let (volume, whole) = (graph.volume(node), whole[communities[node] as usize]);
        let connected = |outward: f64, volume: f64| {
            outward >= resolution * volume * (whole - volume) / graph.total()
        };
        if sizes[own as usize] != 1 || !connected(outward[own as usize], volume) {
            continue;
        }
        for (other, weight) in graph.links(node).filter(|&(other, _)| fellow(node, other)) {
            links.add(parts[other], weight);
        }
        let mut best = (own, 0.0);
        for &to in links.parts().iter().filter(|&&to| to != own) {
            let there = volumes[to as usize];
            let gain = links.of(to) - resolution * volume * there / graph.total();
            if gain > best.1 + MIN_GAIN && connected(outward[to as usize], there) {
                best = (to, gain);
            }
        }
        let to = best.0 as usize;
        if best.0 != own {
            outward[to] += outward[own as usize] - 2.0 * links.of(best.0);
            volumes[to] += volume;
            sizes[to] += 1;
            sizes[own as usize] = 0;
            parts[node] = best.0;
        }
        links.clear();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of `count` cliques of 5, each linked to the next by one link.
    fn ring(count: usize) -> WeightedGraph {
        let mut neighbours = Vec::new();
        for clique in 0..count as u32 {
            for member in 0..5 {
                let mut near: Vec<u32> = (0..5).filter(|&other| other != member).collect();
                near.iter_mut().for_each(|other| *other += 5 * clique);
                if member == 0 {
                    near.push((5 * clique + 9) % (5 * count as u32));
                }
                neighbours.push(near);
            }
        }
        WeightedGraph::of_neighbours(&neighbours)
    }

    fn modularity(graph: &WeightedGraph, communities: &[u32], resolution: f64) -> f64 {
        let count = communities
            .iter()
            .max()
            .map_or(0, |&most| most as usize + 1);
        let joined = graph.joined(communities, count);
        let of = |node: usize| {
            let across: f64 = joined.links(node).map(|(_, weight)| weight).sum();
            let volume = joined.volume(node);
            (volume - across) / 2.0 - resolution * volume * volume / (2.0 * graph.total())
        };
        (0..count).map(of).sum()
    }

    #[test]
    fn cliques_are_communities() {
        let graph = ring(30);
        let found = communities(&graph, 4.0);
        let cliques: Vec<u32> = (0..150).map(|node| node / 5).collect();
        assert_eq!(found, cliques);
    }

    #[test]
    fn no_move_of_a_node_raises_modularity() {
        let graph = ring(12);
        for resolution in [0.1, 1.0, 8.0] {
            let found = communities(&graph, resolution);
            let reached = modularity(&graph, &found, resolution);
            let most = *found.iter().max().unwrap();
            for node in 0..graph.len() {
                for to in 0..=most + 1 {
                    let mut other = found.clone();
                    other[node] = to;
                    let moved = modularity(&graph, &other, resolution);
                    assert!(moved <= reached + 1e-9, "{node} to {to} at {resolution}");
                }
            }
        }
    }
}
