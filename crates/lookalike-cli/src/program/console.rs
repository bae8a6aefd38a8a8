//! Talking to the user: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lookalike::autoencoder::{EpochRecord, Observer, TrainStep};
use lookalike::{Progress, TeachingObserver};
use serde::Serialize;

use super::terminal::plain;
use super::{Failure, output};

/// What the library advises where it misses a pretrained encoder.
const NAME_ENCODER: &str = ": name its folder or file";

/// What the library advises, and the same with the options that do it.
const ADVICE: [(&str, &str); 9] = [
    ("raise the limit of pixels", "raise --max-megapixels"),
    ("raise the limit of a file's bytes", "raise --max-megabytes"),
    ("raise the limit of memory", "raise --max-memory"),
    ("choose some by a filter", "choose some with --where"),
    (": name its file", ": name its file with --model"),
    (NAME_ENCODER, ": name its folder or file with --encoder"),
    ("prune them, or give", "--prune removes them, or give"),
    ("rank by neighbours", "use --by neighbours"),
    ("ask with a picture, or use", "ask without --text, or use"),
];

/// A message of the library with the options that it advises to change.
pub fn with_options(message: &str) -> String {
    ADVICE
        .iter()
        .fold(message.to_owned(), |message, (advice, options)| {
            message.replace(advice, options)
        })
}

/// The same message for a command that takes no encoder's name.
pub fn without_naming(message: &str) -> &str {
    message.strip_suffix(NAME_ENCODER).unwrap_or(message)
}

/// A line on standard error. That nobody reads it is no reason to stop working.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", plain(&with_options(line)));
}

/// How this run talks.
pub struct Console {
    json: bool,
}

impl Console {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether standard output is a person's terminal.
    pub fn is_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// A line of results for people; says nothing in JSON mode.
    pub fn say(&self, line: impl AsRef<str>) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{}", plain(line.as_ref())).map_err(output)
    }

    /// A line of results for machines; says nothing otherwise.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let line = serde_json::to_string(value).map_err(|e| output(e.into()))?;
        writeln!(io::stdout().lock(), "{line}").map_err(output)
    }

    /// Several lines of the program's own words; names in them must be [plain] already.
    pub fn say_lines(&self, lines: impl AsRef<str>) -> Result<(), Failure> {
        lines.as_ref().lines().try_for_each(|line| self.say(line))
    }

    /// A word beside the results.
    pub fn note(&self, line: impl AsRef<str>) {
        note(line.as_ref());
    }

    /// A bar that counts to `total`, on a terminal; nothing elsewhere.
    pub fn bar(&self, total: Option<usize>, what: &str) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total as u64),
            None => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{prefix} {bar:32} {pos}/{len}  {msg}")
            .expect("the template is valid");
        bar.set_style(style);
        bar.set_prefix(what.to_owned());
        bar
    }

    /// Follows a training run.
    pub fn training(&self) -> TrainingView {
        TrainingView {
            bar: self.bar(Some(0), "train"),
            interruption: Interruption::listen(),
        }
    }
}

/// Whether there is work that an interruption lets end in order.
static ORDERLY: AtomicBool = AtomicBool::new(false);
/// Whether that work was asked to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Until this is dropped, Ctrl-C or a request to end only asks the work at hand to end; a second
/// one ends the program at once.
pub struct Interruption(());

impl Interruption {
    /// Begins to listen for Ctrl-C and requests to end.
    pub fn listen() -> Self {
        listen_for_interruptions();
        INTERRUPTED.store(false, Ordering::SeqCst);
        ORDERLY.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Whether the user asked the work to end.
    pub fn is_requested(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        ORDERLY.store(false, Ordering::SeqCst);
    }
}

/// From now on Ctrl-C, or a request to end, is told to the work at hand; a second one, or one
/// while there is no work that ends in order, ends the program at once.
fn listen_for_interruptions() {
    static HANDLER: OnceLock<()> = OnceLock::new();
    HANDLER.get_or_init(|| {
        let handler = || {
            let again = INTERRUPTED.swap(true, Ordering::SeqCst);
            if again || !ORDERLY.load(Ordering::SeqCst) {
                std::process::exit(130);
            }
        };
        // Without a handler an interruption ends the program at once, which loses no more than
        // the work since the last checkpoint.
        let _ = ctrlc::set_handler(handler);
    });
}

/// Shows on a bar how far a task is.
pub fn show(bar: &ProgressBar, progress: Progress) {
    match progress.total {
        Some(total) => {
            bar.set_length(total as u64);
            bar.set_position(progress.done as u64);
            bar.set_prefix(progress.phase.as_str());
        }
        None => bar.set_message(format!("{}: {}", progress.phase, progress.done)),
    }
}

/// Shows a training run as a bar on a terminal, and as a line an epoch elsewhere.
pub struct TrainingView {
    bar: ProgressBar,
    interruption: Interruption,
}

impl TrainingView {
    fn go_on(&self) -> ControlFlow<()> {
        match self.interruption.is_requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl TeachingObserver for TrainingView {
    fn encoding(&mut self, progress: Progress) -> ControlFlow<()> {
        if progress.done == 0 {
            self.note("the teacher encodes the images");
        }
        show(&self.bar, progress);
        self.go_on()
    }
}

impl Observer for TrainingView {
    fn step(&mut self, step: &TrainStep) -> ControlFlow<()> {
        show(&self.bar, step.progress);
        self.bar.set_message(format!(
            "epoch {}/{}  loss {:.5}  {:.0} images/s  {} left",
            step.epoch,
            step.epochs,
            step.loss,
            step.images_per_second,
            duration(step.seconds_left)
        ));
        self.go_on()
    }

    fn epoch(&mut self, number: usize, epoch: &EpochRecord) {
        let line = format!(
            "epoch {number}: loss {:.5}, {}",
            epoch.loss,
            duration(epoch.seconds)
        );
        self.note(&line);
    }

    fn note(&mut self, message: &str) {
        self.bar.suspend(|| note(message));
    }
}

impl Drop for TrainingView {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// "4.2 s", "3 min 20 s", "2 h 5 min".
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Rows of text in columns, the first left-aligned, the others right-aligned.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    // Before widths are measured: what is printed may be longer than the name is.
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<String> = cells
                .map(|(column, (cell, &width))| match column {
                    0 => format!("{cell:width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(4.21), "4.2 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
        assert_eq!(duration(f64::INFINITY), "?");
        assert_eq!(duration(-1.0), "-1.0 s");
    }

    #[test]
    fn names_in_tables_stay_in_their_lines() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let lines = table(&[row("a\nforged", "1"), row("b", "2")]);
        assert_eq!(lines, ["a\\nforged  1", "b          2"]);
    }

    #[test]
    fn tables_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let lines = table(&[row("", "P@5"), row("pixels", ".93"), row("ours", ".982")]);
        assert_eq!(lines, ["         P@5", "pixels   .93", "ours    .982"]);
    }
}

#[cfg(test)]
mod advice_tests {
    use lookalike::images::ImageError;

    use super::with_options;

    #[test]
    fn limits_are_advised_by_the_names_of_options() {
        let (width, height, bytes, limit) = (9, 9, 9, 8);
        for (error, option) in [
            (
                ImageError::TooLarge {
                    width,
                    height,
                    limit,
                },
                "--max-megapixels",
            ),
            (ImageError::FileTooLarge { bytes, limit }, "--max-megabytes"),
            (ImageError::Memory { bytes, limit }, "--max-memory"),
        ] {
            let said = with_options(&error.to_string());
            assert!(said.contains(option), "{said}");
        }
    }
}
