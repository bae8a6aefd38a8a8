//! Coefficients out of a scan's bits.

use super::bits::{Bits, Huffman};
use super::damaged;
use super::transform::ZIGZAG;
use crate::error::ImageError;

/// Where one scan stands in its data.
pub(super) struct Reader<'a> {
    pub(super) data: &'a [u8],
    pub(super) ends: &'a [usize],
    pub(super) segment: usize,
    pub(super) restart: usize,
    /// Units left before the next restart.
    pub(super) left: usize,
    pub(super) bits: Bits<'a>,
    /// The mean of the block before, for each part of the scan.
    pub(super) predictions: [i32; 4],
    /// Blocks that a progressive scan leaves out, still to come.
    pub(super) run: u32,
}

impl Reader<'_> {
    pub(super) fn ended(&self) -> ImageError {
        damaged("it ends before its last row")
    }

    /// Before every MCU: restarts when it is time.
    #[inline(always)]
    pub(super) fn begin_unit(&mut self) -> Result<(), ImageError> {
        if self.restart > 0 {
            if self.left == 0 {
                self.begin_segment()?;
            }
            self.left -= 1;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), ImageError> {
        self.check_end()?;
        self.segment += 1;
        let &end = self.ends.get(self.segment).ok_or_else(|| self.ended())?;
        self.bits = Bits::new(&self.data[self.ends[self.segment - 1]..end]);
        self.predictions = [0; 4];
        self.run = 0;
        self.left = self.restart;
        Ok(())
    }

    pub(super) fn check_end(&self) -> Result<(), ImageError> {
        match self.bits.overrun() {
            true => Err(self.ended()),
            false => Ok(()),
        }
    }

    /// Reads a block up to coefficient `last`, dequantised and in rows; passes over the rest. Gives
    /// how many coefficients there are up to the last that is not zero.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        (dc, ac): (&Huffman, &Huffman),
        part: usize,
        last: usize,
        factors: &[f32; 64],
        block: &mut [f32; 64],
    ) -> Result<usize, ImageError> {
        let mut bits = self.bits;
        let mean = mean(&mut bits, &mut self.predictions[part], dc)? as f32 * factors[0];
        if last == 0 {
            block[0] = mean;
            bits.skip(ac, 1)?;
            self.bits = bits;
            return Ok(1);
        }
        block.fill(0.0);
        block[0] = mean;
        let (mut next, mut count) = (1, 1);
        while next <= last {
            let value = if let Some((zeros, value)) = bits.short_coefficient(ac) {
                next += zeros;
                value
            } else {
                let symbol = bits.symbol(ac)?;
                let size = u32::from(symbol & 15);
                if size == 0 {
                    if symbol != 0xf0 {
                        self.bits = bits;
                        return Ok(count);
                    }
                    next += 16;
                    continue;
                }
                next += usize::from(symbol >> 4);
                bits.value(size)
            };
            if next > 63 {
                return Err(damaged("a block of it has more than 64 coefficients"));
            }
            if next <= last {
                block[usize::from(ZIGZAG[next])] = value as f32 * factors[next];
                count = next + 1;
            }
            next += 1;
        }
        bits.skip(ac, next)?;
        self.bits = bits;
        Ok(count)
    }

    /// A band of coefficients of a progressive picture for the first time.
    #[inline(always)]
    pub(super) fn band(
        &mut self,
        table: &Huffman,
        band: std::ops::RangeInclusive<usize>,
        low: u32,
        block: &mut [i16],
    ) -> Result<(), ImageError> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let mut next = *band.start();
        while next <= *band.end() {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if zeros < 15 {
                    self.run = (1 << zeros) - 1 + self.bits.take(zeros);
                    return Ok(());
                }
                next += 16;
                continue;
            }
            next += zeros as usize;
            let value = self.bits.value(size);
            if next > *band.end() {
                return Err(damaged("a block of it has too many coefficients"));
            }
            block[next] = (value << low) as i16;
            next += 1;
        }
        Ok(())
    }

    /// One more bit of a band of coefficients.
    #[inline(always)]
    pub(super) fn refined_band(
        &mut self,
        table: &Huffman,
        band: std::ops::RangeInclusive<usize>,
        low: u32,
        block: &mut [i16],
    ) -> Result<(), ImageError> {
        let bit = 1i16 << low;
        let mut next = *band.start();
        if self.run == 0 {
            while next <= *band.end() {
                let symbol = self.bits.symbol(table)?;
                let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size == 0 {
                    if zeros < 15 {
                        self.run = (1 << zeros) + self.bits.take(zeros);
                        break;
                    }
                } else if size == 1 {
                    value = if self.bits.take(1) == 1 { bit } else { -bit };
                } else {
                    return Err(damaged("a refinement of it adds more than a bit"));
                }
                // Coefficients known before are refined on the way and do not count as zeros.
                while next <= *band.end() {
                    if block[next] != 0 {
                        self.refine(&mut block[next], bit);
                    } else if zeros == 0 {
                        if value != 0 {
                            block[next] = value;
                        }
                        break;
                    } else {
                        zeros -= 1;
                    }
                    next += 1;
                }
                next += 1;
            }
        }
        if self.run > 0 {
            for known in block[next.min(band.end() + 1)..=*band.end()].iter_mut() {
                if *known != 0 {
                    self.refine(known, bit);
                }
            }
            self.run -= 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn refine(&mut self, known: &mut i16, bit: i16) {
        if self.bits.take(1) == 1 && *known & bit == 0 {
            let by = if *known < 0 { -bit } else { bit };
            *known = known.wrapping_add(by);
        }
    }
}

/// The first coefficient of a block, which is its mean: the difference from the one before is
/// coded.
#[inline(always)]
pub(super) fn mean(bits: &mut Bits, before: &mut i32, table: &Huffman) -> Result<i32, ImageError> {
    let size = bits.symbol(table)?;
    if size > 11 {
        return Err(damaged("a mean of a block of it is out of range"));
    }
    *before = before.wrapping_add(bits.value(size.into()));
    Ok(*before)
}
