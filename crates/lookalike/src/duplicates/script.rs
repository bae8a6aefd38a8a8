//! A plan as a script for any POSIX shell, and the script that undoes it.
//!
//! Names of files may hold anything but a zero byte. In commands they stand in single quotes; in
//! comments, which end where a line does, control characters are written out.

use std::fmt::Write as _;

use super::plan::{Action, Check, Plan, Step};

/// What both scripts begin with, behind their headers.
const COMMON: &str = r#"
set -u
LC_ALL=C
export LC_ALL
acted=0
before=0
left=0

# leave FILE REASON: says that a file is left alone, its name without control characters.
leave() {
    left=$((left + 1))
    printf 'left alone: %s: %s\n' "$(printf '%s' "$1" | tr -d '\001-\037\177')" "$2" >&2
}

# is_there PATH: whether there is anything, a broken link included.
is_there() {
    [ -e "$1" ] || [ -h "$1" ]
}

# is_file PATH: whether there is a regular file, and not a link to one.
is_file() {
    [ -f "$1" ] && [ ! -h "$1" ]
}

# is_same FILE FILE: whether both are one file under two names. Shells without -ef say no.
is_same() {
    [ "$1" -ef "$2" ] 2>/dev/null
}

# has_bytes FILE BYTES: whether a file has this length.
has_bytes() {
    [ "$(wc -c <"$1")" -eq "$2" ]
}
"#;

const MOVE: &str = r#"
# has_sum FILE CHECKSUM BYTES: whether cksum says so of the file.
has_sum() {
    # Words: the wanted checksum and length, then those found.
    set -- "$2" "$3" $(cksum 2>/dev/null <"$1")
    [ "$#" -ge 4 ] && [ "$1 $2" = "$3 $4" ]
}

# move_aside FILE KEPT TARGET ITS_FOLDER
move_aside() {
    if ! is_there "$1"; then
        if is_there "$3"; then
            before=$((before + 1))
        else
            leave "$1" 'it is not there any more'
        fi
    elif is_there "$3"; then
        leave "$1" 'there is something already where it would move to'
    elif mkdir -p "$4" && mv -n "$1" "$3" && ! is_there "$1" && is_file "$3"; then
        acted=$((acted + 1))
    else
        leave "$1" 'it could not be moved'
    fi
}

# is_copy FILE KEPT: whether there are two regular files; otherwise the first is left alone.
is_copy() {
    if ! is_file "$1"; then
        leave "$1" 'it is not a regular file any more'
    elif ! is_file "$2"; then
        leave "$1" 'the file that is kept for it is not there any more'
    elif is_same "$1" "$2"; then
        leave "$1" 'it is the file that is kept, under another name'
    else
        return 0
    fi
    return 1
}

# exact FILE KEPT TARGET ITS_FOLDER: moves a file that has the content of the one that is kept.
exact() {
    if is_there "$1"; then
        is_copy "$1" "$2" || return
        if ! cmp -s "$1" "$2"; then
            leave "$1" 'it is not what the file that is kept is, byte for byte'
            return
        fi
    fi
    move_aside "$1" "$2" "$3" "$4"
}

# near FILE KEPT TARGET ITS_FOLDER CHECKSUM BYTES KEPT_CHECKSUM KEPT_BYTES: moves a file if both are as they were.
near() {
    if is_there "$1"; then
        is_copy "$1" "$2" || return
        if ! has_sum "$1" "$5" "$6"; then
            leave "$1" 'it has changed'
            return
        elif ! has_sum "$2" "$7" "$8"; then
            leave "$1" 'the file that is kept for it has changed'
            return
        fi
    fi
    move_aside "$1" "$2" "$3" "$4"
}
"#;

const UNDO_MOVE: &str = r#"
# back FILE TARGET ITS_FOLDER BYTES: moves a file back to where it was.
back() {
    if ! is_there "$1"; then
        if is_there "$2"; then
            before=$((before + 1))
        else
            leave "$1" 'it is neither there nor at its old place'
        fi
    elif ! is_file "$1"; then
        leave "$1" 'it is not a regular file any more'
    elif ! has_bytes "$1" "$4"; then
        leave "$1" 'it has changed since it was moved'
    elif is_there "$2"; then
        leave "$1" 'there is something at its old place'
    elif mkdir -p "$3" && mv -n "$1" "$2" && ! is_there "$1" && is_file "$2"; then
        acted=$((acted + 1))
    else
        leave "$1" 'it could not be moved back'
    fi
}
"#;

const LINK: &str = r#"
# hard_link FILE KEPT TEMPORARY: puts a link to the file that is kept in the place of its copy, in one step.
hard_link() {
    if ! is_file "$1"; then
        leave "$1" 'it is not there any more, or not a regular file'
    elif ! is_file "$2"; then
        leave "$1" 'the file that it is a copy of is not there any more'
    elif is_same "$1" "$2"; then
        before=$((before + 1))
    elif ! cmp -s "$1" "$2"; then
        leave "$1" 'it is not what the other file is, byte for byte'
    elif is_there "$3"; then
        leave "$1" 'a temporary file of an earlier run lies beside it'
    elif ! ln "$2" "$3"; then
        leave "$1" 'no link could be made'
    elif mv -f "$3" "$1" && is_same "$1" "$2"; then
        acted=$((acted + 1))
    else
        # The link that was made above: what it leads to stays.
        rm -f "$3"
        leave "$1" 'it could not be replaced'
    fi
}
"#;

const UNDO_LINK: &str = r#"
# separate FILE KEPT TEMPORARY: makes a link a file of its own again.
separate() {
    if ! is_file "$1" || ! is_file "$2"; then
        leave "$1" 'it, or the file that it is linked with, is not there any more'
    elif ! is_same "$1" "$2"; then
        before=$((before + 1))
    elif is_there "$3"; then
        leave "$1" 'a temporary file of an earlier run lies beside it'
    elif cp -p "$2" "$3" && cmp -s "$2" "$3" && mv -f "$3" "$1"; then
        acted=$((acted + 1))
    else
        leave "$1" 'it could not be copied; a part may lie beside it'
    fi
}
"#;

impl Plan {
    /// The plan as a script. `undo` is where the script that [undoes](Self::undo_script) it will
    /// be, for people to read.
    pub fn script(&self, undo: &str) -> String {
        let mut script = String::from("#!/bin/sh\n");
        let (count, bytes) = (self.steps.len(), self.bytes);
        match &self.action {
            Action::MoveTo(folder) => {
                comment(
                    &mut script,
                    &format!(
                        "This script moves {}, {bytes} bytes, to the folder",
                        copies(count)
                    ),
                );
                comment(&mut script, &format!("    {folder}"));
                comment(
                    &mut script,
                    "and leaves every other file where it is. For each of them another file is kept in its place.\n\n\
                     Nothing is deleted, and nothing is overwritten. A file is left alone, and named, unless\n\
                     - it is there, a regular file, and the file that is kept for it is there as well;\n\
                     - a copy is the same as the kept file, byte for byte (cmp); a near copy and its kept file\n  \
                       have the checksums and lengths (cksum) that they had when this was written;\n\
                     - nothing is at the place that it moves to.\n\n\
                     It can be stopped, and run again. This puts the files back:",
                );
            }
            Action::HardLink => comment(
                &mut script,
                &format!(
                    "This script replaces {}, {bytes} bytes, by hard links to the files that they are copies of:\n\
                     every name stays and shows the same content, which is on disk once from then on. Changing one then\n\
                     changes the other, and the copy's own time of change and permissions are gone.\n\n\
                     No content is deleted. A file is left alone, and named, unless it is a regular file and the same as the\n\
                     other one, byte for byte (cmp), at that moment. Let no other program write to them meanwhile.\n\n\
                     It can be stopped, and run again. This makes them files of their own again:",
                    copies(count)
                ),
            ),
        }
        comment(&mut script, &format!("    sh {}", quoted(undo)));
        self.close_header(&mut script);
        script.push_str(COMMON);
        script.push_str(match self.action {
            Action::MoveTo(_) => MOVE,
            Action::HardLink => LINK,
        });
        self.each(&mut script, |script, step| {
            let (file, kept) = (quoted(&step.file), quoted(&step.kept));
            match (&step.target, step.check) {
                (None, _) => {
                    let aside = quoted(&temporary(step));
                    let _ = writeln!(script, "hard_link {file} {kept} {aside}");
                }
                (Some(target), check) => {
                    let (folder, target) = (quoted(parent(target)), quoted(target));
                    let _ = match check {
                        Check::Same => writeln!(script, "exact {file} {kept} {target} {folder}"),
                        Check::Checksums {
                            copy,
                            kept: kept_sum,
                            kept_bytes,
                        } => writeln!(
                            script,
                            "near {file} {kept} {target} {folder} {copy} {} {kept_sum} {kept_bytes}",
                            step.bytes
                        ),
                    };
                }
            }
        });
        let did = match self.action {
            Action::MoveTo(_) => "moved",
            Action::HardLink => "replaced by links",
        };
        close(&mut script, did);
        script
    }

    /// The script that puts back what [`script`](Self::script) did.
    pub fn undo_script(&self) -> String {
        let mut script = String::from("#!/bin/sh\n");
        let count = self.steps.len();
        match &self.action {
            Action::MoveTo(folder) => {
                comment(
                    &mut script,
                    &format!("This script moves {} from the folder", copies(count)),
                );
                comment(&mut script, &format!("    {folder}"));
                comment(
                    &mut script,
                    "back to where they were. Nothing is deleted, and nothing is overwritten: a file is left alone, and\n\
                     named, if it has another length by now, or if something is at its old place. It can be run again.",
                );
            }
            Action::HardLink => comment(
                &mut script,
                &format!(
                    "This script makes {} files of their own again, which were replaced by hard links. They get the\n\
                     time of change and the permissions of the file that they were linked with. It can be run again.",
                    copies(count)
                ),
            ),
        }
        self.close_header(&mut script);
        script.push_str(COMMON);
        script.push_str(match self.action {
            Action::MoveTo(_) => UNDO_MOVE,
            Action::HardLink => UNDO_LINK,
        });
        self.each(&mut script, |script, step| {
            let file = quoted(&step.file);
            let _ = match &step.target {
                None => {
                    let (kept, aside) = (quoted(&step.kept), quoted(&temporary(step)));
                    writeln!(script, "separate {file} {kept} {aside}")
                }
                Some(target) => {
                    let folder = quoted(parent(&step.file));
                    let bytes = step.bytes;
                    writeln!(script, "back {} {file} {folder} {bytes}", quoted(target))
                }
            };
        });
        let did = match self.action {
            Action::MoveTo(_) => "moved back",
            Action::HardLink => "made files of their own",
        };
        close(&mut script, did);
        script
    }

    fn close_header(&self, script: &mut String) {
        let rules: Vec<&str> = self.rules.iter().map(|rule| rule.name()).collect();
        comment(
            script,
            &format!(
                "\nWhat is kept was chosen by: {}; of equals the first by path.\nWritten by lookalike {} from the gallery",
                rules.join(", "),
                env!("CARGO_PKG_VERSION")
            ),
        );
        comment(script, &format!("    {}", self.gallery));
    }

    /// The steps, group by group.
    fn each(&self, script: &mut String, write: impl Fn(&mut String, &Step)) {
        for group in self.steps.chunk_by(|a, b| a.group == b.group) {
            let _ = writeln!(script, "\n# group {}", group[0].group);
            for step in group {
                write(script, step);
            }
        }
    }
}

fn copies(count: usize) -> String {
    match count {
        1 => "1 copy".to_owned(),
        _ => format!("{count} copies"),
    }
}

/// The end of a script: what was done, and exit code 1 if anything was left alone.
fn close(script: &mut String, did: &str) {
    let _ = write!(
        script,
        "\nprintf '%s {did}, %s were so already, %s left alone\\n' \"$acted\" \"$before\" \"$left\"\n[ \"$left\" -eq 0 ]\n"
    );
}

/// Lines of a comment.
fn comment(script: &mut String, text: &str) {
    for line in text.split('\n') {
        script.push('#');
        if !line.is_empty() {
            script.push(' ');
        }
        for letter in line.chars() {
            match letter.is_control() {
                true => script.extend(letter.escape_default()),
                false => script.push(letter),
            }
        }
        script.push('\n');
    }
}

/// A text as one word of a command, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The folder of an absolute path.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// Where a link lies before it takes its place: in the same folder, hidden.
fn temporary(step: &Step) -> String {
    let folder = parent(&step.file).trim_end_matches('/');
    format!("{folder}/.lookalike-{}", step.id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(x)\n`y`"), "'it'\\''s $(x)\n`y`'");
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
    }

    #[test]
    fn comments_end_where_they_should() {
        let mut script = String::new();
        comment(&mut script, "one\n\ntwo");
        comment(&mut script, &"/a\rb".replace('\r', "\u{7}"));
        assert_eq!(script, "# one\n#\n# two\n# /a\\u{7}b\n");
    }
}
