//! Who has a gallery open, as its lock file says it to others.

use std::fmt;
use std::sync::OnceLock;

/// What this process is called in lock files, if somebody said so.
static NAME: OnceLock<String> = OnceLock::new();

/// The longest name of a process that is kept or believed, in bytes.
const MAX_NAME: usize = 100;

/// A process that has a gallery open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is, as it [said](Holder::name_this_process); empty if it did not.
    pub name: String,
}

impl Holder {
    /// Says what this process is, for others that find a gallery in use by it: `lookalike serve`,
    /// for instance. It is said once, before a gallery is opened; otherwise it is the name of the
    /// program's file.
    pub fn name_this_process(name: &str) {
        // The first name stays.
        let _ = NAME.set(plain(name));
    }

    /// This process.
    pub(crate) fn this_process() -> Self {
        let name = NAME.get().cloned().unwrap_or_else(|| {
            let program = std::env::current_exe().unwrap_or_default();
            plain(&program.file_name().unwrap_or_default().to_string_lossy())
        });
        Self {
            pid: std::process::id(),
            name,
        }
    }

    /// As it is written in a lock file.
    pub(crate) fn written(&self) -> String {
        format!("{} {}", self.pid, self.name)
    }

    /// What [`written`](Self::written) wrote; none for anything else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (pid, name) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Some(Self {
            pid: pid.parse().ok()?,
            name: plain(name),
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name.is_empty() {
            true => "another process",
            false => &self.name,
        };
        write!(f, "{name} (pid {})", self.pid)
    }
}

/// A name on one line, of bounded length.
fn plain(name: &str) -> String {
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    let end = name.floor_char_boundary(MAX_NAME);
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written() {
        let holder = Holder {
            pid: 1234,
            name: "lookalike serve".to_owned(),
        };
        assert_eq!(Holder::read(&holder.written()), Some(holder.clone()));
        assert_eq!(holder.to_string(), "lookalike serve (pid 1234)");
        // As programs wrote it that left only their number.
        let nameless = Holder::read("1234").unwrap();
        assert_eq!(nameless.to_string(), "another process (pid 1234)");
        for other in ["", " ", "lookalike", "-1 x", "99999999999 x"] {
            assert_eq!(Holder::read(other), None, "{other}");
        }
        let long = Holder::read(&format!("1 {}\u{1b}[31m", "\u{fc}".repeat(500))).unwrap();
        assert!(long.name.len() <= MAX_NAME && !long.name.contains('\u{1b}'));
    }
}
