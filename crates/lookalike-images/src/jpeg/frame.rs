//! A picture while it is read: its components, block by block.

use super::bits::Huffman;
use super::coefficients::{Reader, mean};
use super::damaged;
use super::planes::Component;
use super::scan::Scan;
use super::transform::{ZIGZAG, samples};
use crate::decode::Budget;
use crate::error::ImageError;

/// A picture while it is read.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    /// Samples that a block of the finest component is made into, a side: 8, or 4, 2, 1 for a
    /// reduced picture.
    pub(super) samples: usize,
    /// The largest sampling factors.
    pub(super) max_sampling: (usize, usize),
    pub(super) components: Vec<Component>,
    pub(super) planned: bool,
    /// Whether a scan was not read, because no pixel depends on it.
    pub(super) passed_over: bool,
}

impl Frame {
    /// Chooses the size that the picture is decoded at, and makes room for it.
    pub(super) fn plan(
        &mut self,
        needed: Option<(usize, usize)>,
        bytes: usize,
        budget: &Budget,
    ) -> Result<(), ImageError> {
        self.planned = true;
        if let Some((width, height)) = needed {
            let enough = |samples: &usize| {
                (self.width * samples).div_ceil(8) >= width
                    && (self.height * samples).div_ceil(8) >= height
            };
            self.samples = [1, 2, 4].into_iter().find(enough).unwrap_or(8);
        }
        let (width, height) = self.reduced();
        let mcus = self.mcus();
        let mut memory = bytes + width * height * self.channels();
        let mut blocks = 0;
        for component in &mut self.components {
            memory += component.plan(
                (self.width, self.height),
                self.samples,
                self.max_sampling,
                mcus,
                self.progressive,
            );
            blocks += component.blocks();
        }
        // A block takes a bit of a progressive scan and two of a sequential one, at least: a file
        // that promises more than it can hold is refused before there is room for it. Of several
        // scans, only the first is here.
        let first = self
            .components
            .iter()
            .map(Component::blocks)
            .min()
            .unwrap_or(blocks);
        if first / 8 > bytes {
            return Err(damaged("it ends before its last row"));
        }
        budget.memory(memory as u64)?;
        for component in &mut self.components {
            component.make_room();
        }
        Ok(())
    }

    /// Width and height of the picture that is made.
    pub(super) fn reduced(&self) -> (usize, usize) {
        let reduce = |side: usize| (side * self.samples).div_ceil(8);
        (reduce(self.width), reduce(self.height))
    }

    fn channels(&self) -> usize {
        self.components.len().min(3)
    }

    fn mcus(&self) -> (usize, usize) {
        let mcus = |side: usize, most: usize| side.div_ceil(8 * most);
        (
            mcus(self.width, self.max_sampling.0),
            mcus(self.height, self.max_sampling.1),
        )
    }

    /// Whether no pixel depends on a scan. One that leaves bits open is needed by those that refine
    /// its coefficients, which may refine lower ones in the same scan, as libjpeg does.
    pub(super) fn skips(&self, scan: &Scan) -> bool {
        let component = &self.components[scan.parts[0].0];
        let refined_alone = || {
            let needed = component.open_bits.get(1..=component.last);
            needed.is_none_or(|bits| bits.iter().all(|&bits| bits == 0))
        };
        self.progressive && scan.first > component.last && (scan.low == 0 || refined_alone())
    }

    /// Calls `each` for every block of a scan: the component's place among the scan's parts, and
    /// the block's column and row.
    #[inline(always)]
    fn each_block(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        mut each: impl FnMut(
            &mut Component,
            &mut Reader,
            usize,
            (usize, usize),
        ) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let alone = scan.parts.len() == 1;
        let (columns, rows) = match alone {
            true => self.components[scan.parts[0].0].real_blocks,
            false => self.mcus(),
        };
        for row in 0..rows {
            for column in 0..columns {
                reader.begin_unit()?;
                for (part, &(place, _, _)) in scan.parts.iter().enumerate() {
                    let component = &mut self.components[place];
                    let (across, along) = if alone { (1, 1) } else { component.sampling };
                    for y in 0..along {
                        for x in 0..across {
                            let at = (column * across + x, row * along + y);
                            each(component, reader, part, at)?;
                        }
                    }
                }
            }
            if reader.bits.overrun() {
                return Err(reader.ended());
            }
        }
        for &(place, _, _) in &scan.parts {
            self.components[place].complete |= scan.first == 0;
        }
        Ok(())
    }

    pub(super) fn read_sequential(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
    ) -> Result<(), ImageError> {
        let tables: Vec<_> = (scan.parts.iter())
            .filter_map(|&(_, d, a)| dc[d].as_ref().zip(ac[a].as_ref()))
            .collect();
        let mut block = [0f32; 64];
        self.each_block(scan, reader, |component, reader, part, at| {
            let (dc, ac) = tables[part];
            let factors = component.factors.as_ref().expect("set before the scan");
            let count = reader.block((dc, ac), part, component.last, factors, &mut block)?;
            let size = component.size;
            let (out, stride) = component.block_mut(at);
            samples(&block, count, size, out, stride);
            Ok(())
        })
    }

    pub(super) fn read_progressive(
        &mut self,
        scan: &Scan,
        reader: &mut Reader,
        dc: &[Option<Huffman>; 4],
        ac: &[Option<Huffman>; 4],
    ) -> Result<(), ImageError> {
        let low = u32::from(scan.low);
        if scan.first > 0 {
            let Some(table) = &ac[scan.parts[0].2] else {
                return Err(damaged("a Huffman table of it is missing"));
            };
            let band = scan.first..=scan.last;
            return self.each_block(scan, reader, |component, reader, _, at| {
                let block = component.coefficients_mut(at);
                match scan.high {
                    0 => reader.band(table, band.clone(), low, block),
                    _ => reader.refined_band(table, band.clone(), low, block),
                }
            });
        }
        self.each_block(scan, reader, |component, reader, part, at| {
            let first = &mut component.coefficients_mut(at)[0];
            if scan.high > 0 {
                *first |= (reader.bits.take(1) << low) as i16;
                return Ok(());
            }
            let Some(table) = &dc[scan.parts[part].1] else {
                return Err(damaged("a Huffman table of it is missing"));
            };
            *first = (mean(&mut reader.bits, &mut reader.predictions[part], table)? << low) as i16;
            Ok(())
        })
    }

    /// Makes samples of a progressive picture's coefficients.
    pub(super) fn transform(&mut self) {
        for component in &mut self.components {
            let Some(factors) = component.factors else {
                continue;
            };
            let (columns, rows) = component.real_blocks;
            let mut block = [0f32; 64];
            for at in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
                let (mut count, last) = (0, component.last);
                for (k, &value) in component.coefficients_mut(at).iter().enumerate() {
                    block[usize::from(ZIGZAG[k])] = f32::from(value) * factors[k];
                    if value != 0 && k <= last {
                        count = k + 1;
                    }
                }
                let size = component.size;
                let (out, stride) = component.block_mut(at);
                samples(&block, count, size, out, stride);
            }
        }
    }
}
