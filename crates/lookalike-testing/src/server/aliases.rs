//! Other names of collections.

use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::{
    AliasDescription, ChangeAliases, CollectionOperationResponse, ListAliasesRequest,
    ListAliasesResponse, ListCollectionAliasesRequest,
};
use tonic::Status;

use super::catalogue::done;
use super::error;
use super::store::Store;

impl Store {
    /// Nobody sees some of the actions done and others not yet; but those before one that fails
    /// stay done, as with Qdrant.
    pub fn change_aliases(
        &mut self,
        request: ChangeAliases,
    ) -> Result<CollectionOperationResponse, Status> {
        let actions: Option<Vec<_>> = request.actions.into_iter().map(|a| a.action).collect();
        let actions =
            actions.ok_or_else(|| Status::invalid_argument("Malformed AliasOperation type"))?;
        for action in actions {
            match action {
                Action::CreateAlias(create) => {
                    if !self.collections.contains_key(&create.collection_name) {
                        return Err(error::no_collection(&create.collection_name));
                    }
                    if self.collections.contains_key(&create.alias_name) {
                        return Err(Status::already_exists(format!(
                            "Wrong input: Collection `{}` already exists!",
                            create.alias_name
                        )));
                    }
                    self.aliases
                        .insert(create.alias_name, create.collection_name);
                }
                Action::RenameAlias(rename) => {
                    let collection = self.aliases.remove(&rename.old_alias_name);
                    let collection = collection.ok_or_else(|| {
                        error::not_found(format_args!(
                            "Alias {} does not exists!",
                            rename.old_alias_name
                        ))
                    })?;
                    self.aliases.insert(rename.new_alias_name, collection);
                }
                // No matter if there is none.
                Action::DeleteAlias(delete) => {
                    self.aliases.remove(&delete.alias_name);
                }
            }
        }
        Ok(done(true))
    }

    pub fn list_aliases(&mut self, _: ListAliasesRequest) -> Result<ListAliasesResponse, Status> {
        Ok(self.aliases_of(|_| true))
    }

    pub fn list_collection_aliases(
        &mut self,
        request: ListCollectionAliasesRequest,
    ) -> Result<ListAliasesResponse, Status> {
        Ok(self.aliases_of(|collection| collection == request.collection_name))
    }

    fn aliases_of(&self, wanted: impl Fn(&str) -> bool) -> ListAliasesResponse {
        let aliases = self.aliases.iter();
        ListAliasesResponse {
            aliases: aliases
                .filter(|(_, collection)| wanted(collection))
                .map(|(alias, collection)| AliasDescription {
                    alias_name: alias.clone(),
                    collection_name: collection.clone(),
                })
                .collect(),
            time: 0.0,
        }
    }
}
