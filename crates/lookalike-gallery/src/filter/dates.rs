//! Dates and times in filters, written as far as they matter: `2024`, `2024-06`, `2024-06-01`,
//! `2024-06-01T12:30`, `2024-06-01T12:30:00`.

use super::Comparison;

/// From the first to the last second of a date, both as `2024-06-01T12:30:00`: times that are
/// written so are in order as texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dates {
    pub(crate) first: String,
    pub(crate) last: String,
}

/// How a whole time is written, a digit for each 0.
const PATTERN: &str = "0000-00-00T00:00:00";
/// How many letters a date may have.
const LENGTHS: [usize; 6] = [4, 7, 10, 13, 16, 19];

impl Dates {
    /// Reads a date or a time; none where the text is none, or there is no such day.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // A space between date and time is as good.
        let text = match text.as_bytes().get(10) {
            Some(b' ') => format!("{}T{}", &text[..10], &text[11..]),
            _ => text.to_owned(),
        };
        let fits = |(letter, pattern): (u8, u8)| match pattern {
            b'0' => letter.is_ascii_digit(),
            pattern => letter == pattern,
        };
        if !LENGTHS.contains(&text.len()) || !text.bytes().zip(PATTERN.bytes()).all(fits) {
            return None;
        }
        let number = |from: usize, to: usize, missing: u32| -> u32 {
            text.get(from..to)
                .map_or(missing, |digits| digits.parse().unwrap_or(u32::MAX))
        };
        let (year, month) = (number(0, 4, 0), number(5, 7, 12));
        let days = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let day = number(8, 10, days);
        let is_one = year >= 1
            && (1..=12).contains(&month)
            && (1..=days).contains(&day)
            && number(11, 13, 0) < 24
            && number(14, 16, 0) < 60
            && number(17, 19, 0) < 60;
        let last = format!("{year:04}-{month:02}-{day:02}T23:59:59");
        is_one.then(|| Self {
            first: format!("{text}{}", &"0000-01-01T00:00:00"[text.len()..]),
            last: format!("{text}{}", &last[text.len()..]),
        })
    }

    /// Whether a time that is written in full compares so with the date; what is written otherwise
    /// does not.
    pub(crate) fn holds(&self, comparison: Comparison, time: &str) -> bool {
        let is_time = time.len() == PATTERN.len() && Self::read(time).is_some();
        is_time
            && match comparison {
                Comparison::Equal | Comparison::NotEqual => {
                    (self.first.as_str()..=self.last.as_str()).contains(&time)
                }
                Comparison::Less => time < self.first.as_str(),
                Comparison::LessOrEqual => time <= self.last.as_str(),
                Comparison::Greater => time > self.last.as_str(),
                Comparison::GreaterOrEqual => time >= self.first.as_str(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_long_as_they_are_written() {
        for (text, first, last) in [
            ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59"),
            ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59"),
            ("2023-02", "2023-02-01T00:00:00", "2023-02-28T23:59:59"),
            ("2024-06-01", "2024-06-01T00:00:00", "2024-06-01T23:59:59"),
            (
                "2024-06-01 12",
                "2024-06-01T12:00:00",
                "2024-06-01T12:59:59",
            ),
            (
                "2024-06-01T12:30",
                "2024-06-01T12:30:00",
                "2024-06-01T12:30:59",
            ),
            (
                "2024-06-01T12:30:07",
                "2024-06-01T12:30:07",
                "2024-06-01T12:30:07",
            ),
        ] {
            let dates = Dates::read(text).unwrap();
            assert_eq!((dates.first.as_str(), dates.last.as_str()), (first, last));
        }
        for bad in [
            "",
            "24",
            "2024-",
            "2024-13",
            "2024-02-30",
            "2024-06-01T24",
            "2024/06/01",
            "soon",
            "0000",
            "2024-06-01T12:30:00Z",
            "2024-06-0é",
            "20240601",
        ] {
            assert_eq!(Dates::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_compare_with_whole_days() {
        use Comparison::*;
        let day = Dates::read("2024-06-01").unwrap();
        for (time, passes) in [
            ("2024-05-31T23:59:59", vec![Less, LessOrEqual]),
            (
                "2024-06-01T00:00:00",
                vec![Equal, LessOrEqual, GreaterOrEqual],
            ),
            (
                "2024-06-01T23:59:59",
                vec![Equal, LessOrEqual, GreaterOrEqual],
            ),
            ("2024-06-02T00:00:00", vec![Greater, GreaterOrEqual]),
            ("2024-06-01", vec![]),
            ("soon", vec![]),
        ] {
            for comparison in [Equal, Less, LessOrEqual, Greater, GreaterOrEqual] {
                let holds = day.holds(comparison, time);
                assert_eq!(holds, passes.contains(&comparison), "{time} {comparison:?}");
            }
        }
    }
}
