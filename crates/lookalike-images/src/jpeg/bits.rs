//! Bits of entropy-coded data, and the Huffman codes they spell.

use super::damaged;
use crate::error::ImageError;

/// Bits of the table that most codes are found in at once.
const LOOK: u32 = 9;

/// Bits of the table that several coefficients are skipped with at once. More fill the first-level
/// cache.
const LOOK_SKIP: u32 = 12;

/// Bits of the table that most coefficients are found in at once, code and value.
const LOOK_WHOLE: u32 = 10;

/// A skipping entry that says nothing: no block has room for so many coefficients.
const UNKNOWN: u16 = 127;

/// Reads bits, the highest first, from one segment of a scan without its stuffed zeros.
///
/// It is copied into registers for a block and back: what is called seldom takes its parts by
/// value, so that it may stay there.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte to be taken; beyond the end, zeros are given.
    at: usize,
    /// The bits not yet consumed, at the upper end. Below `count` bits there may be more, and they
    /// are right.
    window: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            window: 0,
            count: 0,
        }
    }

    /// Whether more bits were consumed than there are.
    pub(super) fn overrun(&self) -> bool {
        8 * self.at > 8 * self.data.len() + self.count as usize
    }

    /// At least 32 bits in the window: one code and its value.
    #[inline(always)]
    fn need_32(&mut self) {
        if self.count < 32 {
            let word = match self.data.get(self.at..self.at + 8) {
                Some(bytes) => u64::from_be_bytes(bytes.try_into().expect("eight bytes")),
                None => last_bytes(self.data, self.at),
            };
            self.window |= word >> self.count;
            let taken = (63 - self.count) >> 3;
            self.at += taken as usize;
            self.count += 8 * taken;
        }
    }

    #[inline(always)]
    fn consume(&mut self, bits: u32) {
        self.window <<= bits;
        self.count -= bits;
    }

    /// A number of up to 16 bits.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        self.need_32();
        self.taken(bits)
    }

    #[inline(always)]
    fn taken(&mut self, bits: u32) -> u32 {
        // In two steps, because a shift by 64 is none.
        let value = (self.window >> 1 >> (63 - bits)) as u32;
        self.consume(bits);
        value
    }

    /// The symbol of the next code; after it there are at least 16 bits in the window.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, ImageError> {
        self.need_32();
        let entry = table.look[(self.window >> (64 - LOOK)) as usize];
        if entry == 0 {
            let (symbol, length) = long_symbol(self.window, table)?;
            self.consume(length);
            return Ok(symbol);
        }
        self.consume(u32::from(entry & 0xff));
        Ok((entry >> 8) as u8)
    }

    /// The value of `size` bits that follows a symbol, up to 15, negative ones below half.
    #[inline(always)]
    pub(super) fn value(&mut self, size: u32) -> i32 {
        let bits = self.taken(size) as i32;
        let half = (1 << size) >> 1;
        if bits < half {
            bits - (1 << size) + 1
        } else {
            bits
        }
    }

    /// The next coefficient, if it is short: how many zeros stand before it, and its value.
    #[inline(always)]
    pub(super) fn short_coefficient(&mut self, table: &Huffman) -> Option<(usize, i32)> {
        self.need_32();
        let entry = table.whole[(self.window >> (64 - LOOK_WHOLE)) as usize];
        if entry == 0 {
            return None;
        }
        self.consume((entry & 15) as u32);
        Some((usize::from((entry >> 4 & 15) as u8), i32::from(entry >> 8)))
    }

    /// Skips the coefficients of a block from place `next` (1 to 64) on.
    #[inline(always)]
    pub(super) fn skip(&mut self, table: &Huffman, mut next: usize) -> Result<(), ImageError> {
        while next < 64 {
            self.need_32();
            let entry = match table.skip.get((self.window >> (64 - LOOK_SKIP)) as usize) {
                Some(&entry) => entry,
                None => UNKNOWN,
            };
            let coefficients = usize::from(entry & 127);
            let ends = usize::from(entry >> 7 & 1);
            // An end behind the last coefficient is not of this block, and so are further
            // coefficients.
            if next + coefficients + ends <= 64 {
                self.consume(u32::from(entry >> 8));
                if ends == 1 {
                    return Ok(());
                }
                next += coefficients;
                continue;
            }
            let symbol = self.symbol(table)?;
            let size = u32::from(symbol & 15);
            if size == 0 && symbol != 0xf0 {
                return Ok(());
            }
            self.consume(size);
            next += usize::from(symbol >> 4) + 1;
        }
        if next > 64 {
            return Err(damaged("a block of it has more than 64 coefficients"));
        }
        Ok(())
    }
}

/// Up to 8 bytes from a place on, and zeros.
#[cold]
#[inline(never)]
fn last_bytes(data: &[u8], at: usize) -> u64 {
    let rest = data.get(at..).unwrap_or_default();
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// The symbol of the first code in a window, one of more than `LOOK` bits, and its length.
#[cold]
#[inline(never)]
fn long_symbol(window: u64, table: &Huffman) -> Result<(u8, u32), ImageError> {
    let code = (window >> 48) as u32;
    for length in LOOK + 1..=16 {
        // `ends` is aligned to 16 bits, so codes of every length compare.
        if code < table.ends[length as usize] {
            let index = (code >> (16 - length)) as i32 + table.offsets[length as usize];
            return Ok((table.symbols[index as usize], length));
        }
    }
    Err(damaged("it has a Huffman code that no table has"))
}

/// One table of Huffman codes.
pub(super) struct Huffman {
    /// By the next bits: the symbol, and below it the length of its code; 0 for longer codes.
    look: [u16; 1 << LOOK],
    /// By length: the end of its codes, aligned to 16 bits, or 0.
    ends: [u32; 17],
    /// By length: what makes an index of symbols from a code.
    offsets: [i32; 17],
    symbols: Vec<u8>,
    /// By the next bits: a coefficient's value (8 bits), the zeros before it (4 bits) and the bits
    /// of both (4 bits); 0 if they are not all there, or the value is too large, or the block ends.
    whole: Vec<i16>,
    /// By the next bits: how many coefficients the whole codes among them stand for (7 bits),
    /// whether the block ends with them (1 bit), and how many bits they and their values take.
    /// Empty until asked for.
    skip: Vec<u16>,
}

impl Huffman {
    /// Of the numbers of codes of 1 to 16 bits, and the symbols in their order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, ImageError> {
        let mut table = Self {
            look: [0; 1 << LOOK],
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
            whole: vec![0; 1 << LOOK_WHOLE],
            skip: Vec::new(),
        };
        let (mut code, mut index) = (0u32, 0u32);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            if code + count > 1 << length {
                return Err(damaged("a Huffman table of it has more codes than bits"));
            }
            table.offsets[length as usize] = index as i32 - code as i32;
            if length <= LOOK {
                for n in 0..count {
                    let symbol = u16::from(symbols[(index + n) as usize]);
                    let start = ((code + n) << (LOOK - length)) as usize;
                    table.look[start..start + (1 << (LOOK - length))]
                        .fill(symbol << 8 | length as u16);
                }
            }
            code += count;
            index += count;
            if count > 0 {
                table.ends[length as usize] = code << (16 - length);
            }
            code <<= 1;
        }
        for bits in 0..1usize << LOOK_WHOLE {
            table.whole[bits] = table.whole_entry(bits as u32);
        }
        Ok(table)
    }

    /// Makes the table for skipping coefficients. Without it they are skipped one by one.
    pub(super) fn prepare_to_skip(&mut self) {
        if !self.skip.is_empty() {
            return;
        }
        self.skip = (0..1u32 << LOOK_SKIP)
            .map(|bits| self.skip_entry(bits))
            .collect();
    }

    fn whole_entry(&self, bits: u32) -> i16 {
        let entry = self.look[(bits >> (LOOK_WHOLE - LOOK)) as usize];
        let (symbol, length) = (entry >> 8, u32::from(entry & 0xff));
        let size = u32::from(symbol & 15);
        if entry == 0 || size == 0 || size > 7 || length + size > LOOK_WHOLE {
            return 0;
        }
        let value = (bits >> (LOOK_WHOLE - length - size) & ((1 << size) - 1)) as i16;
        let value = match value < 1 << (size - 1) {
            true => value - (1 << size) + 1,
            false => value,
        };
        value << 8 | (symbol as i16 >> 4) << 4 | (length + size) as i16
    }

    fn skip_entry(&self, bits: u32) -> u16 {
        let (mut used, mut coefficients, mut ends) = (0, 0, 0);
        while used < LOOK_SKIP && coefficients < 48 && ends == 0 {
            let rest = bits << used & ((1 << LOOK_SKIP) - 1);
            let entry = self.look[(rest >> (LOOK_SKIP - LOOK)) as usize];
            let length = u32::from(entry & 0xff);
            if entry == 0 || used + length > LOOK_SKIP {
                break;
            }
            let symbol = entry >> 8;
            let size = u32::from(symbol & 15);
            used += length + size;
            if size == 0 && symbol != 0xf0 {
                ends = 1;
            } else {
                coefficients += (symbol >> 4) + 1;
            }
        }
        if used == 0 {
            return UNKNOWN;
        }
        (used as u16) << 8 | ends << 7 | coefficients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 0 (end), 10 (run 0, size 1), 110 (run 15 of nothing), 1110 (run 2, size 3), and one of
    /// 11 bits.
    fn table() -> Huffman {
        let mut counts = [0; 16];
        counts[..4].copy_from_slice(&[1, 1, 1, 1]);
        counts[10] = 1;
        Huffman::new(&counts, &[0x00, 0x01, 0xf0, 0x23, 0x05]).unwrap()
    }

    fn bytes(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').collect();
        let byte = |bits: &[u8]| bits.iter().fold(0, |sum, bit| 2 * sum + (bit - b'0'));
        bits.chunks(8)
            .map(|bits| byte(bits) << (8 - bits.len()))
            .collect()
    }

    #[test]
    fn symbols_and_values_are_read() {
        let data = bytes("10 1  1110 011  11110000000 11111  0");
        let (mut bits, table) = (Bits::new(&data), table());
        assert_eq!(bits.symbol(&table).unwrap(), 0x01);
        assert_eq!(bits.value(1), 1);
        assert_eq!(bits.symbol(&table).unwrap(), 0x23);
        assert_eq!(bits.value(3), -4);
        assert_eq!(bits.symbol(&table).unwrap(), 0x05);
        assert_eq!(bits.value(5), 31);
        assert_eq!(bits.symbol(&table).unwrap(), 0);
        assert!(!bits.overrun());
        bits.take(16);
        assert!(bits.overrun());
        assert!(Bits::new(&[0xff; 4]).symbol(&table).is_err());
    }

    #[test]
    fn skipping_at_once_is_skipping_one_by_one() {
        let slow = table();
        let mut fast = table();
        fast.prepare_to_skip();
        // Every pattern of 20 bits or so, from every place of a block.
        for pattern in 0..1u32 << 16 {
            let data = (pattern.wrapping_mul(0x9e37_79b9)).to_be_bytes();
            for next in [1, 5, 40, 60, 62, 63] {
                let (mut one, mut other) = (Bits::new(&data), Bits::new(&data));
                let (a, b) = (one.skip(&slow, next), other.skip(&fast, next));
                assert_eq!(a.is_ok(), b.is_ok(), "{pattern} {next}");
                if a.is_ok() {
                    assert_eq!(one.overrun(), other.overrun());
                    assert_eq!(one.take(16), other.take(16), "{pattern} {next}");
                }
            }
        }
    }

    #[test]
    fn short_coefficients_are_symbols_and_values() {
        let table = table();
        for pattern in 0..1u32 << LOOK_WHOLE {
            let data = (pattern << (32 - LOOK_WHOLE)).to_be_bytes();
            let (mut one, mut other) = (Bits::new(&data), Bits::new(&data));
            if let Some((zeros, value)) = one.short_coefficient(&table) {
                let symbol = other.symbol(&table).unwrap();
                assert_eq!(usize::from(symbol >> 4), zeros);
                assert_eq!(other.value(u32::from(symbol & 15)), value);
                assert_eq!(one.count, other.count);
            } else {
                assert!(
                    !(pattern >> 7 == 0b100 || pattern >> 7 == 0b101),
                    "{pattern}"
                );
            }
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_err());
    }
}
