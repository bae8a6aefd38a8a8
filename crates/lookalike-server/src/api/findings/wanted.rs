//! Which copies are looked for: how they are told, and where.

use lookalike::Encoder;
use lookalike::duplicates::{self, DuplicateOptions, Duplicates, Scope};

use super::OnProgress;
use super::duplicates::checked_threshold;
use crate::api::Answered;
use crate::api::images::MAX_LISTED;
use crate::problem::Problem;
use crate::service::Service;

/// Which copies are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// The bits of the threshold.
    threshold: Option<u32>,
    exact_only: bool,
    turned: bool,
    place: Place,
}

/// Where pictures must be to be in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Anywhere,
    WithinFolder,
    /// One in each of two parts, a source or a condition.
    Across([String; 2]),
}

impl Wanted {
    /// As a request has it; `across` are two parts, one a line.
    pub fn read(
        threshold: Option<f32>,
        exact_only: bool,
        turned: bool,
        across: Option<&str>,
        within_folder: bool,
    ) -> Answered<Self> {
        if turned && (exact_only || threshold.is_some()) {
            return Err(Problem::unusable(
                "turned copies are told by comparing pictures: leave out 'threshold' and 'exact_only'",
            ));
        }
        let parts: Vec<&str> = across
            .unwrap_or_default()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let place = match (parts.as_slice(), within_folder) {
            ([], false) => Place::Anywhere,
            ([], true) => Place::WithinFolder,
            ([one, other], false) => Place::Across([one, other].map(|part| (*part).to_owned())),
            ([_, _], true) => {
                return Err(Problem::unusable(
                    "copies are looked for across two parts or within a folder: leave out one of 'across' and 'within_folder'",
                ));
            }
            (other, _) => {
                return Err(Problem::unusable(format!(
                    "'across' has {} lines: give two parts, one a line, each a source or a condition such as label=3",
                    other.len()
                )));
            }
        };
        Ok(Self {
            threshold: checked_threshold(threshold, exact_only)?,
            exact_only,
            turned,
            place,
        })
    }

    /// Whether it is what everybody sees: anything else is a computation of its own.
    pub fn is_usual(&self) -> bool {
        self.threshold.is_none() && !self.turned && self.place == Place::Anywhere
    }

    /// Whether the parts that are named are there.
    pub fn check(&self, service: &Service) -> Answered<()> {
        self.scope(service).map(|_| ())
    }

    fn scope(&self, service: &Service) -> Answered<Scope> {
        Ok(match &self.place {
            Place::Anywhere => Scope::All,
            Place::WithinFolder => Scope::WithinFolder,
            Place::Across([one, other]) => Scope::across(service.gallery(), [one, other])?,
        })
    }

    /// Looks for them in the whole gallery.
    pub fn find(&self, service: &Service, on_progress: OnProgress<'_>) -> Answered<Duplicates> {
        let options = DuplicateOptions {
            threshold: self.threshold.map(f32::from_bits),
            exact_only: self.exact_only,
            filter: None,
            limit: Some(MAX_LISTED),
            scope: self.scope(service)?,
        };
        let gallery = service.gallery();
        let encoder: &dyn Encoder = service.searcher.encoder();
        Ok(match self.turned {
            true => duplicates::find_turned(gallery, &options, encoder, on_progress)?,
            false => duplicates::find(gallery, &options, on_progress)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused() {
        let read = |threshold, exact, turned, across, within| {
            Wanted::read(threshold, exact, turned, across, within).map(|wanted| wanted.is_usual())
        };
        assert_eq!(read(None, false, false, None, false).ok(), Some(true));
        assert_eq!(read(None, true, false, Some(" \n"), false).ok(), Some(true));
        assert_eq!(read(None, false, true, None, false).ok(), Some(false));
        assert_eq!(
            read(None, false, false, Some("a\nlabel=3"), false).ok(),
            Some(false)
        );
        assert_eq!(read(Some(0.1), false, false, None, true).ok(), Some(false));
        assert!(read(Some(0.1), false, true, None, false).is_err());
        assert!(read(None, true, true, None, false).is_err());
        assert!(read(None, false, false, Some("a\nb"), true).is_err());
        assert!(read(None, false, false, Some("a"), false).is_err());
        assert!(read(None, false, false, Some("a\nb\nc"), false).is_err());
    }
}
