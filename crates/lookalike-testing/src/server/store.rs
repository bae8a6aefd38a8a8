//! All that the server keeps.

use std::collections::BTreeMap;

use tonic::Status;

use super::{Collection, error};

/// Collections and their aliases; what the nodes of a cluster have in common.
#[derive(Debug)]
pub(super) struct Store {
    /// How many nodes the cluster has.
    pub nodes: usize,
    pub collections: BTreeMap<String, Collection>,
    /// From an alias to the collection.
    pub aliases: BTreeMap<String, String>,
}

impl Store {
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// The collection of this name or alias.
    pub fn resolve(&self, name: &str) -> Result<&Collection, Status> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        let collection = self.collections.get(name);
        collection.ok_or_else(|| error::no_collection(name))
    }

    pub fn resolve_mut(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        let collection = self.collections.get_mut(name);
        collection.ok_or_else(|| error::no_collection(name))
    }
}
