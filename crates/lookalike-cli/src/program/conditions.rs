//! Conditions that say which images a command is about.

use lookalike::Error;
use lookalike::gallery::{Filter, Gallery};

use super::Failure;
use super::console::Console;

/// Values that are named where a condition holds for none.
const NAMED: usize = 10;

/// The filter of a command that tells what there is among the images that pass. Why none do is
/// said, so that a mistyped condition does not look as if there were nothing to find.
///
/// # Errors
///
/// When a condition asks for a field that is not one of those that images may have anywhere, and
/// that none of the gallery has.
pub fn filter_of(
    gallery: &dyn Gallery,
    conditions: &[Filter],
    console: &Console,
) -> Result<Option<Filter>, Failure> {
    let filter = Filter::all(conditions.iter().cloned())?;
    if filter.is_some() && gallery.count(filter.as_ref())? == 0 {
        let is_empty = gallery.describe()?.points == 0;
        for condition in conditions.iter().filter(|_| !is_empty) {
            for field in condition.extra_fields() {
                if gallery.facets(field, None, 1)?.is_empty() {
                    return Err(Error::Unusable(without_field(field, condition)).into());
                }
            }
        }
        for line in why_none(gallery, conditions)? {
            console.note(line);
        }
    }
    Ok(filter)
}

/// Why no image passes all conditions, as far as can be told.
pub fn why_none(gallery: &dyn Gallery, conditions: &[Filter]) -> Result<Vec<String>, Error> {
    let info = gallery.describe()?;
    if info.points == 0 {
        return Ok(vec![format!(
            "the gallery {} is empty; `lookalike index` fills it",
            info.name
        )]);
    }
    let mut lines = Vec::new();
    for condition in conditions {
        if gallery.count(Some(condition))? > 0 {
            continue;
        }
        let Some(field) = condition.fields().next() else {
            continue;
        };
        let values: Vec<String> = gallery
            .facets(field, None, NAMED)?
            .iter()
            .map(|facet| facet.value.to_string())
            .collect();
        lines.push(match values.is_empty() {
            true => without_field(field, condition),
            false => format!(
                "no image passes {condition}; values of {field} are {}{}",
                values.join(", "),
                if values.len() == NAMED { ", …" } else { "" }
            ),
        });
    }
    if lines.is_empty() && conditions.len() > 1 {
        lines.push(
            "each condition holds for some image, and no image passes all of them".to_owned(),
        );
    }
    Ok(lines)
}

fn without_field(field: &str, condition: &Filter) -> String {
    format!("no image of the gallery has a field {field} ({condition})")
}
