//! What a terminal is given: text without control characters of its own, and pictures where it can
//! show them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A line as it may be shown to people: what would move the cursor, colour the text, begin another
/// line or turn the direction of writing is written out (`\n`, `\u{1b}`). Names of files may hold
/// all of that.
pub fn plain(line: &str) -> Cow<'_, str> {
    let acts = |letter: char| {
        letter.is_control()
            || matches!(letter,
                '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !line.contains(acts) {
        return line.into();
    }
    let mut plain = String::with_capacity(line.len() + 8);
    for letter in line.chars() {
        match acts(letter) {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    plain.into()
}

/// The protocols for true pictures that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Kitty's graphics: Kitty, Ghostty, Konsole.
    Kitty,
    /// iTerm2's inline images: iTerm2, WezTerm, mintty, the editor VS Code.
    ITerm,
}

impl Protocol {
    /// The protocol that the terminal of this process has, by its environment. The terminal is not
    /// asked: one that does not answer would be waited for.
    pub fn of_environment() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let term = variable("TERM")?;
        // A multiplexer keeps the variables of the terminal that it was started in, and does not
        // pass pictures on.
        let nested = ["dumb", "screen", "tmux", "linux"];
        if nested.iter().any(|name| term.starts_with(name)) || variable("TMUX").is_some() {
            return None;
        }
        if variable("KITTY_WINDOW_ID").is_some()
            || matches!(term.as_str(), "xterm-kitty" | "xterm-ghostty")
        {
            return Some(Self::Kitty);
        }
        match variable("TERM_PROGRAM")
            .or_else(|| variable("LC_TERMINAL"))
            .as_deref()
        {
            Some("ghostty") => return Some(Self::Kitty),
            Some("iTerm.app" | "iTerm2" | "WezTerm" | "mintty" | "vscode") => {
                return Some(Self::ITerm);
            }
            _ => {}
        }
        // Konsole understands Kitty's protocol since 22.04.
        let konsole = variable("KONSOLE_VERSION").and_then(|version| version.parse().ok());
        (konsole >= Some(220_400)).then_some(Self::Kitty)
    }

    /// Writes a PNG file for the terminal to show.
    pub fn show(self, png: &[u8], mut out: impl Write) -> io::Result<()> {
        out.write_all(self.text(png).as_bytes())?;
        out.flush()
    }

    fn text(self, png: &[u8]) -> String {
        let data = STANDARD.encode(png);
        let mut text = String::with_capacity(data.len() + data.len() / 64 + 64);
        match self {
            Self::ITerm => {
                let _ = write!(
                    text,
                    "\x1b]1337;File=inline=1;size={}:{data}\x07",
                    png.len()
                );
            }
            Self::Kitty => {
                // At most 4096 letters at a time; "q=2": the terminal answers nothing.
                let mut rest = data.as_str();
                let mut head = "a=T,f=100,q=2,";
                loop {
                    let (part, next) = rest.split_at(rest.len().min(4096));
                    let more = u8::from(!next.is_empty());
                    let _ = write!(text, "\x1b_G{head}m={more};{part}\x1b\\");
                    (rest, head) = (next, "");
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        assert_eq!(plain("Äpfel 数.jpg"), "Äpfel 数.jpg");
        assert_eq!(
            plain("a\nb\t\r\u{1b}[31m\u{7f}\u{9b}"),
            "a\\nb\\t\\r\\u{1b}[31m\\u{7f}\\u{9b}"
        );
        assert_eq!(
            plain("x\u{202e}gpj.exe\u{2028}"),
            "x\\u{202e}gpj.exe\\u{2028}"
        );
    }

    #[test]
    fn the_environment_tells_what_a_terminal_shows() {
        let of = |variables: &[(&str, &str)]| {
            Protocol::of(|name| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let (kitty, iterm) = (Some(Protocol::Kitty), Some(Protocol::ITerm));
        for (variables, expected) in [
            (&[("TERM", "xterm-kitty")][..], kitty),
            (&[("TERM", "xterm"), ("KITTY_WINDOW_ID", "1")], kitty),
            (&[("TERM", "xterm"), ("KONSOLE_VERSION", "230804")], kitty),
            (&[("TERM", "xterm"), ("KONSOLE_VERSION", "210000")], None),
            (&[("TERM", "xterm"), ("TERM_PROGRAM", "iTerm.app")], iterm),
            (&[("TERM", "xterm"), ("LC_TERMINAL", "iTerm2")], iterm),
            (&[("TERM", "dumb"), ("TERM_PROGRAM", "iTerm.app")], None),
            (&[("TERM", "screen"), ("KITTY_WINDOW_ID", "1")], None),
            (
                &[("TERM", "xterm"), ("TMUX", "x"), ("KITTY_WINDOW_ID", "1")],
                None,
            ),
            (&[("TERM", "xterm-256color")], None),
            (&[("TERM_PROGRAM", "iTerm.app")], None),
        ] {
            assert_eq!(of(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn pictures_are_written_as_their_protocols_say() {
        assert_eq!(
            Protocol::ITerm.text(b"png"),
            "\x1b]1337;File=inline=1;size=3:cG5n\x07\n"
        );
        assert_eq!(
            Protocol::Kitty.text(b"png"),
            "\x1b_Ga=T,f=100,q=2,m=0;cG5n\x1b\\\n"
        );
        let long = Protocol::Kitty.text(&[0; 6000]);
        let parts: Vec<&str> = long.trim_end().split_terminator("\x1b\\").collect();
        assert_eq!(parts.len(), 2);
        assert!(parts[0].starts_with("\x1b_Ga=T,f=100,q=2,m=1;"), "{long}");
        assert!(parts[1].starts_with("\x1b_Gm=0;"), "{long}");
        let data: usize = parts
            .iter()
            .map(|part| part.split_once(';').unwrap().1.len())
            .sum();
        assert_eq!(data, 8000);
    }
}
