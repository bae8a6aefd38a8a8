//! The header of a page, in Thrift's compact protocol: how much memory the page will take.
//!
//! The crate `parquet` reserves what a header promises, so that promises are checked here first.

/// What a page's header promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) length: usize,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    /// Bytes of levels that stand unpacked before the rest, in version 2 of pages.
    pub(super) levels: u64,
}

impl PageHeader {
    /// The header that `bytes` begin with; `None` if it is damaged or longer than they are.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        let mut below_zero = false;
        let mut rest = bytes;
        structure(&mut rest, 0, &mut |path, value| {
            let value = u64::try_from(value).ok();
            match (path, value) {
                ([2], Some(value)) => header.unpacked = value,
                ([3], Some(value)) => header.packed = value,
                ([8, 5 | 6], Some(value)) => header.levels = header.levels.saturating_add(value),
                ([2 | 3] | [8, 5 | 6], None) => below_zero = true,
                _ => {}
            }
        })?;
        header.length = bytes.len() - rest.len();
        (!below_zero).then_some(header)
    }
}

/// The deepest nesting of a page's header.
const MAX_DEPTH: usize = 8;

/// Skips a structure, and passes each integer in it to `tell`, with the path of fields to it.
fn structure(bytes: &mut &[u8], depth: usize, tell: &mut dyn FnMut(&[i64], i64)) -> Option<()> {
    let mut field = 0_i64;
    loop {
        let head = byte(bytes)?;
        let kind = head & 15;
        if kind == 0 {
            return Some(());
        }
        field = match head >> 4 {
            0 => zigzag(varint(bytes)?),
            step => field.checked_add(i64::from(step))?,
        };
        value(bytes, kind, depth, &mut |path, value| {
            let mut longer = [0; MAX_DEPTH + 1];
            longer[0] = field;
            longer[1..=path.len()].copy_from_slice(path);
            tell(&longer[..=path.len()], value);
        })?;
    }
}

fn value(
    bytes: &mut &[u8],
    kind: u8,
    depth: usize,
    tell: &mut dyn FnMut(&[i64], i64),
) -> Option<()> {
    match kind {
        // The kind itself is the truth value.
        1 | 2 => Some(()),
        3 => byte(bytes).map(drop),
        4..=6 => {
            tell(&[], zigzag(varint(bytes)?));
            Some(())
        }
        7 => pass(bytes, 8),
        8 => {
            let length = varint(bytes)?;
            pass(bytes, usize::try_from(length).ok()?)
        }
        9 | 10 => {
            let head = byte(bytes)?;
            let (short, kind) = (u64::from(head >> 4), head & 15);
            let count = if short == 15 { varint(bytes)? } else { short };
            // Each takes at least a byte, so that the loop ends with the bytes. In lists truth
            // values do too.
            (0..count).try_for_each(|_| match kind {
                1 | 2 => pass(bytes, 1),
                kind if depth < MAX_DEPTH - 1 => value(bytes, kind, depth + 1, &mut |_, _| {}),
                _ => None,
            })
        }
        12 if depth < MAX_DEPTH - 1 => structure(bytes, depth + 1, tell),
        // A page's header has no maps.
        _ => None,
    }
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn pass(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}

/// An integer of seven bits a byte, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        number |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_its_sizes() {
        // Type 3, 1,000 bytes unpacked, 300 packed, and of version 2: 5 bytes and 2 bytes of
        // levels.
        let bytes = [
            0x15, 6, 0x15, 0xd0, 15, 0x15, 0xd8, 4, 0x5c, 0x15, 2, 0x45, 10, 0x15, 4, 0, 0, 99,
        ];
        let expected = PageHeader {
            length: bytes.len() - 1,
            packed: 300,
            unpacked: 1000,
            levels: 7,
        };
        assert_eq!(PageHeader::parse(&bytes), Some(expected));
        for cut in 0..bytes.len() - 1 {
            assert_eq!(PageHeader::parse(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn lies_are_not_believed() {
        // A text of 2^62 bytes, a list of as many, and structures without an end.
        let long = [&[0x18][..], &[0x80; 8], &[0x40]].concat();
        assert_eq!(PageHeader::parse(&long), None);
        let list = [&[0x19, 0xf8][..], &[0x80; 8], &[0x40, 0, 0]].concat();
        assert_eq!(PageHeader::parse(&list), None);
        assert_eq!(PageHeader::parse(&[0x1c; 1000]), None);
        assert_eq!(PageHeader::parse(&[0x19; 1000]), None);
        // A size of -1.
        assert_eq!(PageHeader::parse(&[0x25, 1, 0]), None);
    }
}
