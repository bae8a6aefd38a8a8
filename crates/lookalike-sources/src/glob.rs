//! Many names in one: `{000..127}`, `{train,test}`, `*`, `?`, `[0-9]` and `**`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::Pattern;

/// The most names that braces may give.
const MAX_NAMES: usize = 1_000_000;

/// Whether a name has anything to expand.
pub(crate) fn is_pattern(spec: &str) -> bool {
    has_braces(spec) || has_wildcards(spec)
}

/// Whether a name has braces with something to expand in them.
pub(crate) fn has_braces(spec: &str) -> bool {
    first_group(spec).is_some()
}

/// Whether a name has wildcards.
pub(crate) fn has_wildcards(spec: &str) -> bool {
    spec.contains(['*', '?', '['])
}

/// Writes out the braces of a name, the first group changing slowest. Braces without a comma or a
/// range stand for themselves.
///
/// # Errors
///
/// When they give more than [`MAX_NAMES`] names.
pub(crate) fn expand_braces(spec: &str) -> Result<Vec<String>, String> {
    let mut names = vec![spec.to_owned()];
    while names.iter().any(|name| has_braces(name)) {
        let mut next = Vec::new();
        for name in names {
            let Some((begin, end, choices)) = first_group(&name) else {
                next.push(name);
                continue;
            };
            if next.len() + choices.len() > MAX_NAMES {
                return Err(format!(
                    "its braces give more than {MAX_NAMES} names; give fewer"
                ));
            }
            let (before, after) = (&name[..begin], &name[end..]);
            let named = |choice: String| format!("{before}{choice}{after}");
            next.extend(choices.into_iter().map(named));
        }
        names = next;
    }
    Ok(names)
}

/// The innermost first group that can be expanded: where it begins and ends, and its choices.
fn first_group(name: &str) -> Option<(usize, usize, Vec<String>)> {
    let mut open = None;
    for (place, letter) in name.char_indices() {
        match (letter, open) {
            ('{', _) => open = Some(place),
            ('}', Some(begin)) => {
                let inner = &name[begin + 1..place];
                if let Some(choices) = choices(inner) {
                    return Some((begin, place + 1, choices));
                }
                open = None;
            }
            _ => {}
        }
    }
    None
}

fn choices(inner: &str) -> Option<Vec<String>> {
    if let Some((first, last)) = inner.split_once("..") {
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits(first) && digits(last) {
            let (from, to): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            let width = match first.len() > 1 && first.starts_with('0') || first.len() == last.len()
            {
                true => first.len(),
                false => 0,
            };
            // One more than the limit is enough to be refused.
            let numbers = (from..=to).take(MAX_NAMES + 1);
            let forwards = from <= to;
            return forwards.then(|| numbers.map(|number| format!("{number:0width$}")).collect());
        }
    }
    inner
        .contains(',')
        .then(|| inner.split(',').map(str::to_owned).collect())
}

/// Whether a name matches a pattern; both are whole paths with `/` between the parts.
///
/// Parts are matched one at a time: over a whole path the crate `glob` tries every way to divide it
/// among the stars, which takes exponentially long.
#[cfg_attr(
    not(feature = "remote"),
    allow(dead_code, reason = "local names are matched by parts")
)]
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let name: Vec<_> = name.split('/').collect();
    // Where in the name the pattern so far can end.
    let mut ends = vec![false; name.len() + 1];
    ends[0] = true;
    for part in pattern.split('/') {
        let mut next = vec![false; name.len() + 1];
        if part == "**" {
            let mut any = false;
            for (end, reached) in ends.iter().enumerate() {
                any |= reached;
                next[end] = any;
            }
        } else {
            let part = part_pattern(part);
            for (place, piece) in name.iter().enumerate() {
                next[place + 1] = ends[place] && part.matches(piece);
            }
        }
        ends = next;
    }
    ends[name.len()]
}

/// A pattern of one part. As in a shell, `[^` is `[!`, several stars are one, and a bracket that is
/// not closed is a letter.
fn part_pattern(part: &str) -> Pattern {
    let mut text = part.replace("[^", "[!");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    loop {
        match Pattern::new(&text) {
            Ok(pattern) => return pattern,
            // Only a bracket can still be wrong; if anything else is, no wildcard is one.
            Err(error) => match text.char_indices().nth(error.pos) {
                Some((at, '[')) => text.replace_range(at..=at, "[[]"),
                _ => text = Pattern::escape(&text),
            },
        }
    }
}

/// The files and folders below `base` that match a pattern, by the bytes of their names. Names that
/// begin with a dot match only a part that begins with one too.
///
/// The walk of the crate `glob` is not used: it panics at names that are not UTF-8, and a folder
/// whose name has brackets would need them escaped.
pub(crate) fn local(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let parts: Vec<_> = pattern
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| (part, part_pattern(part)))
        .collect();
    descend(base, &parts, &mut found);
    found.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    found.dedup();
    found
}

fn descend(at: &Path, parts: &[(&str, Pattern)], found: &mut Vec<PathBuf>) {
    let Some(((first, pattern), rest)) = parts.split_first() else {
        found.push(at.to_owned());
        return;
    };
    if !has_wildcards(first) {
        let next = at.join(first);
        if fs::symlink_metadata(&next).is_ok() {
            descend(&next, rest, found);
        }
        return;
    }
    if *first == "**" {
        descend(at, rest, found);
    }
    // A folder that cannot be listed is found itself: opening it will say why.
    let entries = match fs::read_dir(at).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => {
            let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
            if !absent.contains(&error.kind()) {
                found.push(at.to_owned());
            }
            return;
        }
    };
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        if name.starts_with('.') && !first.starts_with('.') {
            continue;
        }
        let next = at.join(name);
        if *first == "**" {
            // Links are not followed here, for they may lead back.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                descend(&next, parts, found);
            }
        // A name may have brackets itself, and then the pattern of the same text does not match it.
        } else if (name == *first || pattern.matches(name)) && (rest.is_empty() || next.is_dir()) {
            descend(&next, rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn braces(spec: &str) -> Vec<String> {
        expand_braces(spec).unwrap()
    }

    #[test]
    fn braces_are_written_out() {
        assert_eq!(
            braces("{008..011}.tar"),
            ["008.tar", "009.tar", "010.tar", "011.tar"]
        );
        assert_eq!(braces("a{9..11}"), ["a9", "a10", "a11"]);
        assert_eq!(braces("{a,b}-{1..2}"), ["a-1", "a-2", "b-1", "b-2"]);
        assert_eq!(braces("{a,{b,c}}"), ["a", "b", "a", "c"]);
        for literal in ["a.tar", "{a}", "{}", "{2..1}", "}{", "{a..b}", "{1..}"] {
            assert_eq!(braces(literal), [literal]);
            assert!(!is_pattern(literal));
        }
        assert!(
            expand_braces("{0..9999999}")
                .unwrap_err()
                .contains("more than")
        );
        assert!(expand_braces("{0..9999}{0..9999}").is_err());
    }

    #[test]
    fn wildcards_fit_within_a_part_and_stars_across() {
        for (pattern, name) in [
            ("*.tar", "a.tar"),
            ("a/*/c.tar", "a/b/c.tar"),
            ("**/*.tar", "a.tar"),
            ("**/*.tar", "x/y/a.tar"),
            ("x/**", "x/y/z"),
            ("[a-c]?.t*r", "bz.taar"),
            ("[!0-9].tar", "x.tar"),
            ("[^0-9].tar", "x.tar"),
            ("[a-.tar", "[a-.tar"),
            ("[a-c][.tar", "b[.tar"),
            ("a**b***.tar", "axb.tar"),
            ("[]].tar", "].tar"),
            ("[", "["),
            ("a*b*c", "aXbXbc"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.tar", "a/b.tar"),
            ("*.tar", "a.tar.gz"),
            ("?.tar", "ab.tar"),
            ("[a-c].tar", "d.tar"),
            ("[^0-9].tar", "1.tar"),
            ("[a*", "a.tar"),
            ("x/**/y", "x/z"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        // Patterns that would take for ever if all ways to divide a name were tried.
        assert!(!fits(&"*a".repeat(60), &"a".repeat(59)));
        assert!(!fits(
            &format!("{}b/c", "*a".repeat(60)),
            &format!("{}/c", "a".repeat(200))
        ));
    }

    #[test]
    fn files_are_found_by_the_bytes_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar", "c.zip", ".d.tar", "x/e.tar", "x/y/f.tar"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let root = root.path().canonicalize().unwrap();
        let find = |pattern: &str| {
            let found = local(&root, pattern);
            let relative = |path: PathBuf| {
                path.strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            };
            found.into_iter().map(relative).collect::<Vec<_>>()
        };
        assert_eq!(find("*.tar"), ["a.tar", "b.tar"]);
        assert_eq!(find("**/*.tar"), ["a.tar", "b.tar", "x/e.tar", "x/y/f.tar"]);
        assert_eq!(find("*/?.tar"), ["x/e.tar"]);
        assert_eq!(find("no/*.tar"), Vec::<String>::new());
        assert_eq!(find(".*"), [".d.tar"]);
        fs::create_dir_all(root.join("y/[2020] a")).unwrap();
        fs::write(root.join("y/[2020] a/g.tar"), b"").unwrap();
        assert_eq!(find("*/[2020] a/*.tar"), ["y/[2020] a/g.tar"]);
    }
}
