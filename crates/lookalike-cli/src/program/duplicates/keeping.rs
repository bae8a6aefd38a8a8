//! Which copies are kept, and what is done with the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lookalike::Error;
use lookalike::duplicates::{
    Action, Decisions, Group, KeepOptions, KeepRule, LeftBecause, Plan, Verdict, decide, lies_in,
    plan, verdicts_on,
};
use lookalike::files::replace_file;
use lookalike::gallery::Gallery;
use serde::Serialize;

use super::super::arguments::KeepArguments;
use super::super::real_path;
use super::super::spreadsheet::place;

/// What was decided and, where it was asked for, planned and written.
#[derive(Serialize)]
pub struct Kept {
    keep: Vec<KeepRule>,
    verdicts: Vec<Verdict>,
    plan: Option<Plan>,
    script: Option<String>,
    undo: Option<String>,
}

/// Refuses what cannot be done, before anything is compared.
pub fn check(arguments: &KeepArguments) -> Result<(), Error> {
    let rules = rules(arguments);
    if rules.contains(&KeepRule::Folder) && arguments.prefer.is_empty() {
        return unusable(
            "cannot decide by folder: name the folders, the most preferred first, each with --prefer",
        );
    }
    if !rules.contains(&KeepRule::Folder) && !arguments.prefer.is_empty() {
        return unusable(
            "--prefer is what the rule `folder` goes by: put it among those of --keep",
        );
    }
    let Some(script) = &arguments.script else {
        return Ok(());
    };
    if !arguments.is_planned() {
        return unusable(
            "cannot write a script: say what it shall do with copies, --move-to FOLDER or --hard-link",
        );
    }
    // The script that undoes an earlier one may be all that says where files were.
    for path in [script, &undo_path(script)] {
        if path.symlink_metadata().is_ok() {
            return unusable(&format!(
                "{} is there already, and may be needed to undo what was done: name another script, or remove it",
                path.display()
            ));
        }
    }
    Ok(())
}

fn unusable(reason: &str) -> Result<(), Error> {
    Err(Error::Unusable(reason.to_owned()))
}

fn rules(arguments: &KeepArguments) -> Vec<KeepRule> {
    if !arguments.keep.is_empty() {
        return arguments.keep.clone();
    }
    let preferred = (!arguments.prefer.is_empty()).then_some(KeepRule::Folder);
    preferred.into_iter().chain(KeepRule::DEFAULT).collect()
}

/// `move.sh` is undone by `move-undo.sh`.
pub fn undo_path(script: &Path) -> PathBuf {
    let mut name = script.file_stem().unwrap_or_default().to_owned();
    name.push("-undo");
    if let Some(ending) = script.extension() {
        name.push(".");
        name.push(ending);
    }
    script.with_file_name(name)
}

/// A path from the root, as the library takes it.
fn absolute(path: &Path) -> Result<String, Error> {
    real_path(path)
        .into_os_string()
        .into_string()
        .map_err(|name| {
            Error::Unusable(format!(
                "{} cannot be used: its path is not UTF-8; name another folder",
                name.display()
            ))
        })
}

/// Folders as the library takes them, each of which is there, or has one of these copies in it. A
/// mistyped one would let other rules decide which copies give way.
fn preferred(folders: &[PathBuf], groups: &[Group]) -> Result<Vec<String>, Error> {
    let mut preferred = Vec::new();
    for folder in folders {
        let name = match folder.to_str() {
            Some(address) if address.contains("://") => address.to_owned(),
            _ => absolute(folder)?,
        };
        let mut copies = groups.iter().flat_map(|group| &group.members);
        if !folder.exists() && !copies.any(|copy| lies_in(&copy.payload, &name)) {
            return Err(Error::Unusable(format!(
                "cannot prefer {}: there is no such folder, and no copy lies in it; \
                 name a folder that is there",
                folder.display()
            )));
        }
        preferred.push(name);
    }
    Ok(preferred)
}

impl Kept {
    /// Decides, plans and writes what was asked for.
    pub fn of(
        gallery: &dyn Gallery,
        groups: &[Group],
        arguments: &KeepArguments,
    ) -> Result<Self, Error> {
        let options = KeepOptions {
            rules: rules(arguments),
            prefer: preferred(&arguments.prefer, groups)?,
            near: arguments.near,
            decided: match Decisions::of(&gallery.describe()?) {
                Some(decisions) => decisions.about(groups)?,
                None => BTreeMap::new(),
            },
        };
        let mut kept = Self {
            verdicts: decide(gallery, groups, &options)?,
            keep: options.rules.clone(),
            plan: None,
            script: None,
            undo: None,
        };
        let action = match &arguments.move_to {
            Some(folder) => Action::MoveTo(absolute(folder)?),
            None if arguments.hard_link => Action::HardLink,
            None => return Ok(kept),
        };
        let plan = plan(gallery, groups, &kept.verdicts, &options, &action)?;
        if let Some(path) = &arguments.script {
            let undo = undo_path(path);
            let shown = std::path::absolute(&undo).unwrap_or_else(|_| undo.clone());
            for (path, text) in [
                (&undo, plan.undo_script()),
                (path, plan.script(&shown.to_string_lossy())),
            ] {
                replace_file(path, text.as_bytes())
                    .map_err(|error| Error::unwritten(path, error))?;
            }
            kept.script = Some(path.display().to_string());
            kept.undo = Some(undo.display().to_string());
        }
        kept.plan = Some(plan);
        Ok(kept)
    }

    /// What is kept of a group, and why.
    pub fn lines_of(&self, group: &Group, number: usize) -> Vec<String> {
        let own = verdicts_on(&self.verdicts, number).iter();
        own.filter_map(|verdict| {
            let kept = group.members.iter().find(|m| m.id == verdict.kept)?;
            Some(format!(
                "  keep {} ({})",
                place(&kept.payload),
                verdict.reason
            ))
        })
        .collect()
    }

    /// What was decided on the whole.
    pub fn conclusion(&self) -> Vec<String> {
        let rules: Vec<&str> = self.keep.iter().map(|rule| rule.name()).collect();
        let copies: usize = self.verdicts.iter().map(|v| v.copies.len()).sum();
        let mut lines = vec![format!(
            "kept by {}: {} of {} that are the same; {copies} give way",
            rules.join(", "),
            self.verdicts.len(),
            self.verdicts.len() + copies,
        )];
        let Some(plan) = &self.plan else {
            return lines;
        };
        let (count, bytes) = (plan.steps.len(), plan.bytes);
        lines.push(match &plan.action {
            Action::MoveTo(folder) => format!("to move: {count} files, {bytes} bytes, to {folder}"),
            Action::HardLink => {
                format!("to replace by hard links: {count} files, {bytes} bytes")
            }
        });
        for (because, count) in plan.left_by_reason() {
            let advice = match because {
                LeftBecause::Near if plan.action != Action::HardLink => {
                    "; --near moves such as well"
                }
                _ => "",
            };
            lines.push(format!(
                "left alone: {count}, for {}{advice}",
                because.words()
            ));
        }
        match (&self.script, &self.undo) {
            (Some(script), Some(undo)) => lines.push(format!(
                "nothing was done: read {script}, then run it with sh; {undo} undoes it"
            )),
            _ => lines.push("nothing was done: --script writes it as a script".to_owned()),
        }
        lines
    }
}
