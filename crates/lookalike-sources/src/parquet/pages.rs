//! The pages of a column, checked before the Parquet reader takes memory for what headers promise.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::header::PageHeader;
use crate::blob::{Blob, read_at};
use crate::limits::Limits;
use crate::skipped::{SkipKind, SkipReason};

fn external(why: SkipReason) -> ParquetError {
    ParquetError::External(Box::new(why))
}

fn damaged(reason: &str) -> ParquetError {
    external(SkipReason::new(
        SkipKind::Damaged,
        format!("{reason}; download it again"),
    ))
}

/// The bytes of one column in one group of rows.
///
/// The Parquet reader asks for a page's header by position, and then for the page itself, so that
/// the header can be checked in between.
#[derive(Clone)]
pub(super) struct Chunks(Arc<Column>);

struct Column {
    blob: Arc<dyn Blob>,
    /// Where the column ends.
    end: u64,
    compression: Compression,
    limits: Limits,
    /// The bytes read last, and where they begin.
    window: Mutex<(u64, Bytes)>,
    /// The last header, for packings that unpack without a limit.
    promised: Mutex<PageHeader>,
}

impl Chunks {
    pub(super) fn new(
        blob: Arc<dyn Blob>,
        end: u64,
        compression: Compression,
        limits: Limits,
    ) -> Self {
        Self(Arc::new(Column {
            blob,
            end,
            compression,
            limits,
            window: Mutex::new((0, Bytes::new())),
            promised: Mutex::new(PageHeader::default()),
        }))
    }
}

impl Column {
    /// The header at a place, after it was checked.
    fn header(&self, start: u64) -> Result<Bytes> {
        const TYPICAL_READ: u64 = 1 << 12;
        const MAX_READ: u64 = 1 << 20;
        let mut bytes = self.read(start, TYPICAL_READ)?;
        let mut header = PageHeader::parse(&bytes);
        if header.is_none() {
            bytes = self.read(start, MAX_READ)?;
            header = PageHeader::parse(&bytes);
        }
        let header = header.ok_or_else(|| damaged("a page's header is damaged"))?;
        self.check(&header).map_err(external)?;
        *self.promised.lock().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(bytes.slice(..header.length))
    }

    fn read(&self, start: u64, length: u64) -> Result<Bytes> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let length = length.min(self.end.saturating_sub(start));
        let inside = |window: &(u64, Bytes)| {
            let from = usize::try_from(start.checked_sub(window.0)?).ok()?;
            let until = from.checked_add(usize::try_from(length).ok()?)?;
            (until <= window.1.len()).then(|| window.1.slice(from..until))
        };
        if let Some(bytes) = inside(&window) {
            return Ok(bytes);
        }
        let stride = (self.blob.stride().0 as u64).max(length);
        let stride = stride.min(self.end.saturating_sub(start));
        let bytes = read_at(self.blob.as_ref(), start, stride)
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        *window = (start, bytes);
        inside(&window).ok_or_else(|| {
            external(SkipReason::new(
                SkipKind::Truncated,
                "the file was cut while it was read; download it again",
            ))
        })
    }

    /// Refuses a page that promises more than it can hold.
    fn check(&self, header: &PageHeader) -> std::result::Result<(), SkipReason> {
        let (packed, unpacked) = (header.packed, header.unpacked);
        self.limits.check_ratio(packed, unpacked)?;
        // A compression has a best ratio.
        let best = match self.compression {
            Compression::UNCOMPRESSED => 1,
            Compression::SNAPPY => 64,
            Compression::LZ4 | Compression::LZ4_RAW => 256,
            _ => u64::MAX,
        };
        if unpacked > packed.saturating_mul(best).saturating_add(1024) {
            let reason = format!(
                "a page of {packed} bytes says that it unpacks to {unpacked}, more than its packing \
                 can give; download it again"
            );
            return Err(SkipReason::new(SkipKind::Damaged, reason));
        }
        Ok(())
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.blob.stamp().bytes
    }
}

impl ChunkReader for Chunks {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(HeaderReader {
            column: Arc::clone(&self.0),
            start,
            header: None,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let column = &self.0;
        let bytes = column.read(start, length as u64)?;
        if bytes.len() < length {
            return Err(damaged("a page goes beyond its column"));
        }
        if matches!(column.compression, Compression::GZIP(_)) {
            let promised = *column
                .promised
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            check_gzip(&bytes, &promised)?;
        }
        Ok(bytes)
    }
}

/// A page's header, read when the first byte is asked for: the Parquet reader also makes readers
/// that it does not use, at places without a header.
pub(super) struct HeaderReader {
    column: Arc<Column>,
    start: u64,
    header: Option<Bytes>,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = match &mut self.header {
            Some(header) => header,
            None => {
                let header = self
                    .column
                    .header(self.start)
                    .map_err(|error| match error {
                        ParquetError::External(error) => io::Error::other(error),
                        error => io::Error::other(error),
                    })?;
                self.header.insert(header)
            }
        };
        let read = buffer.len().min(header.len());
        header.split_to(read).copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// Refuses gzip that unpacks to more than was promised: the Parquet reader would unpack all of it.
fn check_gzip(page: &[u8], promised: &PageHeader) -> Result<()> {
    let packed = usize::try_from(promised.levels)
        .ok()
        .and_then(|levels| page.get(levels..));
    let decoder = flate2::read::MultiGzDecoder::new(packed.unwrap_or_default());
    let mut bounded = decoder.take(promised.unpacked.saturating_add(1));
    match io::copy(&mut bounded, &mut io::sink()) {
        Ok(unpacked) if unpacked > promised.unpacked => {
            Err(damaged("a page unpacks to more bytes than its header says"))
        }
        // Damage is reported by the reader.
        _ => Ok(()),
    }
}

/// Refuses pages with impossible counts, because memory is taken for them.
pub(super) struct CheckedPages<P> {
    pages: P,
    /// Whether values may be absent, so that levels stand before them.
    levels: bool,
}

impl<P> CheckedPages<P> {
    pub(super) fn new(pages: P, levels: bool) -> Self {
        Self { pages, levels }
    }
}

fn check_counts(page: Option<Page>, levels: bool) -> Result<Option<Page>> {
    match &page {
        Some(Page::DictionaryPage {
            buf, num_values, ..
        }) if *num_values as usize > buf.len() => {
            return Err(damaged("a dictionary says it has more values than bytes"));
        }
        Some(page) if page.is_data_page() => {
            let most = page.num_values();
            let delta = matches!(
                page.encoding(),
                Encoding::DELTA_BINARY_PACKED
                    | Encoding::DELTA_LENGTH_BYTE_ARRAY
                    | Encoding::DELTA_BYTE_ARRAY
            );
            // Such a page could hold many values in few bytes, but not rows of images.
            if delta && u64::from(most) > (1 << 20).max(8 * page.buffer().len() as u64) {
                return Err(damaged("a page says it has more values than it can have"));
            }
            if delta && !counts_in_deltas(page, levels) {
                return Err(damaged("a page's values are more than its header says"));
            }
        }
        _ => {}
    }
    Ok(page)
}

/// Whether the count before the deltas is at most the page's own.
fn counts_in_deltas(page: &Page, levels: bool) -> bool {
    let values = match page {
        // In version 1 the length of the levels comes before them.
        Page::DataPage { buf, .. } if levels => buf.get(..4).and_then(|length| {
            let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
            buf.get(length.checked_add(4)?..)
        }),
        Page::DataPageV2 {
            buf,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => {
            let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
            buf.get(levels as usize..)
        }
        page => Some(&page.buffer()[..]),
    };
    // The reader refuses what cannot be read here.
    let count = values.and_then(delta_count);
    count.is_none_or(|count| count <= u64::from(page.num_values()))
}

/// The count in a header of deltas: the block's size, its number of miniblocks, and then the count.
fn delta_count(mut bytes: &[u8]) -> Option<u64> {
    let mut number = || super::header::varint(&mut bytes);
    number()?;
    number()?;
    number()
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        check_counts(self.pages.get_next_page()?, self.levels)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
