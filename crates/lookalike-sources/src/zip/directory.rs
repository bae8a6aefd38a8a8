//! The directory at the end of a zip archive, with the fields of Zip64.

use std::io::{self, Read};

use crate::blob::{Blob, Stream, read_at, read_exactly_at};
use crate::skipped::{SkipKind, SkipReason};

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
const ZSTANDARD: u16 = 93;

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const RECORD: u32 = 0x0201_4b50;
const HEADER: u32 = 0x0403_4b50;

const END_BYTES: usize = 22;
const LOCATOR_BYTES: u64 = 20;
pub(super) const HEADER_BYTES: u64 = 30;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn damaged(reason: impl Into<String>) -> SkipReason {
    SkipReason::new(SkipKind::Damaged, reason)
}

fn failed(error: &io::Error) -> SkipReason {
    SkipReason::from_io(error, "read the directory at its end")
}

/// Where the directory is.
#[derive(Clone, Copy)]
pub(super) struct Directory {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Members, as the end of the archive says.
    pub(super) count: u64,
    /// Bytes before the archive's own first byte, as in an archive that unpacks itself.
    pub(super) before: u64,
}

impl Directory {
    pub(super) fn find(blob: &dyn Blob) -> Result<Self, SkipReason> {
        let length = blob.stamp().bytes;
        // The end has a comment of up to 65,535 bytes.
        let tail_at = length.saturating_sub(END_BYTES as u64 + 0xffff);
        let tail = read_at(blob, tail_at, length - tail_at).map_err(|error| failed(&error))?;
        let at = (0..(tail.len() + 1).saturating_sub(END_BYTES))
            .rev()
            .find(|&at| {
                u32_at(&tail, at) == END
                    && at + END_BYTES + usize::from(u16_at(&tail, at + 20)) <= tail.len()
            })
            .ok_or_else(|| {
                damaged(
                    "the directory at its end is missing: it is cut off, or not a zip archive; copy \
                     or download it again",
                )
            })?;
        let end = &tail[at..];
        let end_at = tail_at + at as u64;
        let mut count = u64::from(u16_at(end, 10));
        let mut size = u64::from(u32_at(end, 12));
        let mut offset = u64::from(u32_at(end, 16));
        let mut directory_end = end_at;
        let parts = (u16_at(end, 4), u16_at(end, 6));
        if count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff {
            if let Some((found, at)) = end_64(blob, end_at)? {
                (count, size, offset) =
                    (u64_at(&found, 32), u64_at(&found, 40), u64_at(&found, 48));
                directory_end = at;
            }
        } else if parts != (0, 0) {
            let reason = "it is one of several parts; join them into one archive first";
            return Err(SkipReason::new(SkipKind::Unsupported, reason));
        }
        let lies = || damaged("the end of the archive says its directory lies outside of it");
        let begin = directory_end.checked_sub(size).ok_or_else(lies)?;
        let before = begin.checked_sub(offset).ok_or_else(lies)?;
        Ok(Self {
            begin,
            end: directory_end,
            count,
            before,
        })
    }
}

fn end_64(blob: &dyn Blob, end_at: u64) -> Result<Option<(bytes::Bytes, u64)>, SkipReason> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else {
        return Ok(None);
    };
    let locator =
        read_exactly_at(blob, locator_at, LOCATOR_BYTES).map_err(|error| failed(&error))?;
    if u32_at(&locator, 0) != LOCATOR_64 {
        return Ok(None);
    }
    let at = u64_at(&locator, 8);
    let found = read_exactly_at(blob, at, 56).map_err(|error| failed(&error))?;
    match u32_at(&found, 0) == END_64 && at < locator_at {
        true => Ok(Some((found, at))),
        false => Err(damaged(
            "the end of the archive points to nothing; copy or download it again",
        )),
    }
}

/// A name as it stands in the archive.
#[derive(Clone)]
pub(super) struct Name(pub(super) Vec<u8>);

impl Name {
    pub(super) fn replace_backslashes(&self) -> Vec<u8> {
        let slash = |&byte: &u8| if byte == b'\\' { b'/' } else { byte };
        self.0.iter().map(slash).collect()
    }
}

/// What the directory says about a member.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) name: Name,
    flags: u16,
    pub(super) method: u16,
    pub(super) checksum: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    pub(super) header_at: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: Option<i64>,
    /// Attributes of the system that packed it; the upper half is the Unix mode.
    attributes: u32,
    by_unix: bool,
}

impl Record {
    /// The next record; `None` at the end of the directory.
    pub(super) fn read(from: &mut Stream) -> Result<Option<Self>, SkipReason> {
        if from.remaining() == 0 {
            return Ok(None);
        }
        let lost = || {
            damaged(
                "its directory is damaged here, and the rest of it is not read; copy or download it \
                 again",
            )
        };
        let mut fixed = [0; 46];
        let enough = from.remaining() >= fixed.len() as u64;
        if !enough {
            return Err(lost());
        }
        from.read_exact(&mut fixed)
            .map_err(|error| failed(&error))?;
        if u32_at(&fixed, 0) != RECORD {
            return Err(lost());
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(&fixed, at)));
        let mut rest = vec![0; lengths.iter().sum()];
        if from.remaining() < rest.len() as u64 {
            return Err(lost());
        }
        from.read_exact(&mut rest).map_err(|error| failed(&error))?;
        let extra = rest[lengths[0]..lengths[0] + lengths[1]].to_vec();
        rest.truncate(lengths[0]);
        let mut record = Self {
            name: Name(rest),
            flags: u16_at(&fixed, 8),
            method: u16_at(&fixed, 10),
            checksum: u32_at(&fixed, 16),
            packed: u64::from(u32_at(&fixed, 20)),
            unpacked: u64::from(u32_at(&fixed, 24)),
            header_at: u64::from(u32_at(&fixed, 42)),
            modified: dos_time(u16_at(&fixed, 14), u16_at(&fixed, 12)),
            attributes: u32_at(&fixed, 38),
            by_unix: matches!(fixed[5], 3 | 19),
        };
        record.extend(&extra);
        Ok(Some(record))
    }

    /// Takes 64-bit sizes and the Unix time from the extra fields.
    fn extend(&mut self, mut extra: &[u8]) {
        while extra.len() >= 4 {
            let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
            let Some(field) = extra.get(4..4 + length) else {
                return;
            };
            match id {
                1 => {
                    let mut values = field.chunks_exact(8).map(|value| u64_at(value, 0));
                    for place in [&mut self.unpacked, &mut self.packed, &mut self.header_at] {
                        if *place == 0xffff_ffff {
                            *place = values.next().unwrap_or(*place);
                        }
                    }
                }
                0x5455 if length >= 5 && field[0] & 1 == 1 => {
                    let seconds = u32_at(field, 1) as i32;
                    self.modified = Some(i64::from(seconds) * 1_000_000_000);
                }
                _ => {}
            }
            extra = &extra[4 + length..];
        }
    }

    /// Refuses members that are not files, and those that cannot be unpacked.
    pub(super) fn check_kind(&self) -> Result<(), SkipReason> {
        let refuse = |kind, reason: String| Err(SkipReason::new(kind, reason));
        if self.by_unix {
            match self.attributes >> 16 & 0o170_000 {
                0 | 0o100_000 => {}
                0o120_000 => {
                    let reason = "it is a link, which is not followed; pack the file itself";
                    return refuse(SkipKind::Link, reason.to_owned());
                }
                _ => {
                    let reason = "it is a device, a pipe or a folder, and not a file";
                    return refuse(SkipKind::Special, reason.to_owned());
                }
            }
        }
        if self.flags & 1 == 1 {
            let reason = "it is encrypted; unpack it with its password first";
            return refuse(SkipKind::Encrypted, reason.to_owned());
        }
        match self.method {
            STORED | DEFLATED | ZSTANDARD => Ok(()),
            99 => refuse(
                SkipKind::Encrypted,
                "it is encrypted; unpack it with its password first".to_owned(),
            ),
            method => {
                let name = match method {
                    9 => "Deflate64".to_owned(),
                    12 => "bzip2".to_owned(),
                    14 => "LZMA".to_owned(),
                    95 => "XZ".to_owned(),
                    method => format!("method {method}"),
                };
                let reason = format!("it is packed with {name}; pack it with Deflate");
                refuse(SkipKind::Unsupported, reason)
            }
        }
    }

    /// The bytes that the member takes in the archive, without its extra fields.
    pub(super) fn min_bytes(&self) -> u64 {
        (HEADER_BYTES + self.name.0.len() as u64).saturating_add(self.packed)
    }

    /// Checks the member's own header, with which `bytes` begin, and returns its length.
    pub(super) fn check_header(&self, bytes: &[u8]) -> Result<u64, SkipReason> {
        let lies = |what| damaged(format!("{what}; pack the archive again"));
        let fixed = HEADER_BYTES as usize;
        if bytes.len() < fixed || u32_at(bytes, 0) != HEADER {
            return Err(lies("there is no member where the directory says"));
        }
        let name = usize::from(u16_at(bytes, 26));
        let extra = usize::from(u16_at(bytes, 28));
        if bytes.get(fixed..fixed + name) != Some(&self.name.0) {
            return Err(lies("its own header gives another name than the directory"));
        }
        if u16_at(bytes, 8) != self.method {
            return Err(lies(
                "its own header gives another compression than the directory",
            ));
        }
        Ok((fixed + name + extra) as u64)
    }
}

/// DOS time has no zone. Taken as UTC, it still changes when the file does.
fn dos_time(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (
        1980 + i64::from(date >> 9),
        i64::from(date >> 5 & 15),
        i64::from(date & 31),
    );
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days since 1970, in years that begin in March, so that a leap day is the last day of a year.
    let year = if month < 3 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + day
        - 1
        - 719_468;
    let (hours, minutes, seconds) = (time >> 11, time >> 5 & 63, 2 * (time & 31));
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    Some((days * 86_400 + seconds) * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_nanoseconds_since_1970() {
        let date = |year: u16, month: u16, day: u16| (year - 1980) << 9 | month << 5 | day;
        let time = 12 << 11 | 30 << 5 | 29;
        for (year, month, day, seconds) in [
            (1980, 1, 1, 315_577_858_i64),
            (2000, 2, 29, 951_827_458),
            (2024, 12, 31, 1_735_648_258),
        ] {
            let found = dos_time(date(year, month, day), time);
            assert_eq!(found, Some(seconds * 1_000_000_000), "{year}-{month}-{day}");
        }
        assert_eq!(dos_time(0, 0), None);
    }
}
