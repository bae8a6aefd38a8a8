//! The inner loops: products of 16 rows of 8-bit numbers with one of 16-bit numbers, and distances
//! of 16 boxes from a query, by the instructions that the processor has.

use super::boxes::{MAX_GAP, QUAD, Quad, SIDE};

/// Rows of a block.
pub(super) const ROWS: usize = 16;
/// Dimensions come in whole multiples of this.
pub(super) const WIDTH: usize = 8;

/// A set of instructions.
pub(super) trait Dots {
    /// The inner products of the rows of a block with a query. A block has, for every pair of
    /// dimensions, the two numbers of the first row, those of the second, and so on; `pairs` has
    /// the query's two numbers in the low and high half of each, a multiple of `WIDTH / 2` of them.
    ///
    /// # Safety
    ///
    /// The processor has the instructions, and the caller is compiled for them.
    unsafe fn dots(block: &[i8], pairs: &[i32]) -> [i32; ROWS];

    /// Half of the squared distance between a query and the boxes of a group of blocks, at most.
    ///
    /// # Safety
    ///
    /// As for `dots`.
    unsafe fn half_gaps(group: &[u8], query: &[Quad]) -> [f32; ROWS];

    /// A bit for every key that is not greater than the limit, as a NaN is not; the first key's
    /// is the lowest.
    ///
    /// # Safety
    ///
    /// As for `dots`.
    unsafe fn not_above(keys: &[f32; ROWS], limit: f32) -> u16;

    /// The smallest key that is no NaN, or infinity.
    ///
    /// # Safety
    ///
    /// As for `dots`.
    unsafe fn smallest(keys: &[f32; ROWS]) -> f32;

    /// Says that these numbers are about to be read.
    #[inline(always)]
    fn prefetch<T>(_numbers: &[T]) {}
}

/// Any processor.
pub(super) struct Portable;

impl Dots for Portable {
    // SAFETY: safe with any processor; unsafe as the trait has it.
    #[inline(always)]
    unsafe fn dots(block: &[i8], pairs: &[i32]) -> [i32; ROWS] {
        let mut sums = [0i32; ROWS];
        for (numbers, &pair) in block.as_chunks::<{ 2 * ROWS }>().0.iter().zip(pairs) {
            let (low, high) = (i32::from(pair as i16), pair >> 16);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += i32::from(numbers[2 * row]) * low + i32::from(numbers[2 * row + 1]) * high;
            }
        }
        sums
    }

    // SAFETY: safe with any processor; unsafe as the trait has it.
    #[inline(always)]
    unsafe fn half_gaps(group: &[u8], query: &[Quad]) -> [f32; ROWS] {
        let mut sums = [0.0f32; ROWS];
        for (sides, quad) in group.as_chunks::<{ 2 * SIDE }>().0.iter().zip(query) {
            let (lows, highs) = sides.split_at(SIDE);
            for (block, sum) in sums.iter_mut().enumerate() {
                let mut squares = 0;
                for at in 0..QUAD {
                    let below = lows[block * QUAD + at].saturating_sub(quad.up[at]);
                    let above = quad.down[at].saturating_sub(highs[block * QUAD + at]);
                    let gap = i32::from((below | above).min(MAX_GAP));
                    squares += gap * gap;
                }
                *sum += squares as f32 * quad.weight;
            }
        }
        sums
    }

    // SAFETY: safe with any processor; unsafe as the trait has it.
    #[inline(always)]
    unsafe fn not_above(keys: &[f32; ROWS], limit: f32) -> u16 {
        let mut bits = 0;
        for (row, key) in keys.iter().enumerate() {
            #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is not above")]
            let is_set = !(*key > limit);
            bits |= u16::from(is_set) << row;
        }
        bits
    }

    // SAFETY: safe with any processor; unsafe as the trait has it.
    #[inline(always)]
    unsafe fn smallest(keys: &[f32; ROWS]) -> f32 {
        keys.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Dots, MAX_GAP, Quad, ROWS, SIDE, WIDTH};

    /// Sums that do not wait for each other.
    const SUMS: usize = WIDTH / 2;

    /// Bytes of a cache line.
    const LINE: usize = 64;

    #[inline(always)]
    fn prefetch<T>(numbers: &[T]) {
        for line in numbers.chunks(LINE / size_of::<T>()) {
            // SAFETY: any x86-64 has the instruction, which reads nothing that could be missing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }

    /// AVX-512 with BW and VNNI.
    pub(in super::super) struct Avx512;

    impl Dots for Avx512 {
        #[inline(always)]
        fn prefetch<T>(numbers: &[T]) {
            prefetch(numbers);
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn dots(block: &[i8], pairs: &[i32]) -> [i32; ROWS] {
            let blocks = block.as_chunks::<{ 2 * ROWS * SUMS }>().0;
            let pairs = pairs.as_chunks::<SUMS>().0;
            // SAFETY: the instructions are there, as the trait demands. Every load is of 32 bytes
            // within a chunk of 128, and the store is of 64 bytes to an array of 64.
            unsafe {
                let mut sums = [_mm512_setzero_si512(); SUMS];
                for (numbers, pairs) in blocks.iter().zip(pairs) {
                    for at in 0..SUMS {
                        let bytes = numbers.as_ptr().add(2 * ROWS * at);
                        let words = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes.cast()));
                        let pair = _mm512_set1_epi32(pairs[at]);
                        sums[at] = _mm512_dpwssd_epi32(sums[at], words, pair);
                    }
                }
                let sum = _mm512_add_epi32(
                    _mm512_add_epi32(sums[0], sums[1]),
                    _mm512_add_epi32(sums[2], sums[3]),
                );
                let mut out = [0i32; ROWS];
                _mm512_storeu_si512(out.as_mut_ptr().cast(), sum);
                out
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn half_gaps(group: &[u8], query: &[Quad]) -> [f32; ROWS] {
            let quads = group.as_chunks::<{ 2 * SIDE }>().0;
            // SAFETY: the instructions are there, as the trait demands. The two loads are of the
            // 64 bytes at the beginning and at the end of a chunk of 128, and the store is of 64
            // bytes to an array of 64.
            unsafe {
                let most = _mm512_set1_epi8(MAX_GAP as i8);
                let mut sum = _mm512_setzero_ps();
                for (sides, quad) in quads.iter().zip(query) {
                    let lows = _mm512_loadu_si512(sides.as_ptr().cast());
                    let highs = _mm512_loadu_si512(sides.as_ptr().add(SIDE).cast());
                    let up = _mm512_set1_epi32(i32::from_ne_bytes(quad.up));
                    let down = _mm512_set1_epi32(i32::from_ne_bytes(quad.down));
                    let below = _mm512_subs_epu8(lows, up);
                    let above = _mm512_subs_epu8(down, highs);
                    let gaps = _mm512_min_epu8(_mm512_or_si512(below, above), most);
                    let squares = _mm512_dpbusd_epi32(_mm512_setzero_si512(), gaps, gaps);
                    let weight = _mm512_set1_ps(quad.weight);
                    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(squares), weight, sum);
                }
                let mut out = [0.0f32; ROWS];
                _mm512_storeu_ps(out.as_mut_ptr(), sum);
                out
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn not_above(keys: &[f32; ROWS], limit: f32) -> u16 {
            // SAFETY: the instructions are there, as the trait demands; the load is of 64 bytes
            // from an array of 64.
            unsafe {
                let keys = _mm512_loadu_ps(keys.as_ptr());
                _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(keys, _mm512_set1_ps(limit))
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn smallest(keys: &[f32; ROWS]) -> f32 {
            // SAFETY: as above.
            unsafe {
                let infinite = _mm512_set1_ps(f32::INFINITY);
                // A NaN as the first operand gives the second.
                let keys = _mm512_min_ps(_mm512_loadu_ps(keys.as_ptr()), infinite);
                _mm512_reduce_min_ps(keys)
            }
        }
    }

    /// AVX2.
    pub(in super::super) struct Avx2;

    impl Dots for Avx2 {
        #[inline(always)]
        fn prefetch<T>(numbers: &[T]) {
            prefetch(numbers);
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn dots(block: &[i8], pairs: &[i32]) -> [i32; ROWS] {
            let blocks = block.as_chunks::<{ 2 * ROWS }>().0;
            // SAFETY: the instructions are there, as the trait demands. Every load is of 16 bytes
            // within a chunk of 32, and each store of 32 bytes to half of an array of 64.
            unsafe {
                let mut sums = [_mm256_setzero_si256(); 4];
                for (at, (numbers, &pair)) in blocks.iter().zip(pairs).enumerate() {
                    let pair = _mm256_set1_epi32(pair);
                    for half in 0..2 {
                        let bytes = numbers.as_ptr().add(ROWS * half);
                        let words = _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes.cast()));
                        let sum = &mut sums[at % 2 * 2 + half];
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, pair));
                    }
                }
                let mut out = [0i32; ROWS];
                for half in 0..2 {
                    let sum = _mm256_add_epi32(sums[half], sums[2 + half]);
                    _mm256_storeu_si256(out.as_mut_ptr().add(8 * half).cast(), sum);
                }
                out
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn half_gaps(group: &[u8], query: &[Quad]) -> [f32; ROWS] {
            let quads = group.as_chunks::<{ 2 * SIDE }>().0;
            // SAFETY: the instructions are there, as the trait demands. Every load is of 32 bytes
            // within a chunk of 128, and each store of 32 bytes to half of an array of 64.
            unsafe {
                let most = _mm256_set1_epi8(MAX_GAP as i8);
                let mut sums = [_mm256_setzero_ps(); 2];
                for (sides, quad) in quads.iter().zip(query) {
                    let up = _mm256_set1_epi32(i32::from_ne_bytes(quad.up));
                    let down = _mm256_set1_epi32(i32::from_ne_bytes(quad.down));
                    let weight = _mm256_set1_ps(quad.weight);
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let side = sides.as_ptr().add(SIDE / 2 * half);
                        let lows = _mm256_loadu_si256(side.cast());
                        let highs = _mm256_loadu_si256(side.add(SIDE).cast());
                        let below = _mm256_subs_epu8(lows, up);
                        let above = _mm256_subs_epu8(down, highs);
                        let gaps = _mm256_min_epu8(_mm256_or_si256(below, above), most);
                        // Two squares are at most 32,258: nothing is cut off.
                        let squares = _mm256_maddubs_epi16(gaps, gaps);
                        let squares = _mm256_madd_epi16(squares, _mm256_set1_epi16(1));
                        let squares = _mm256_cvtepi32_ps(squares);
                        *sum = _mm256_add_ps(*sum, _mm256_mul_ps(squares, weight));
                    }
                }
                let mut out = [0.0f32; ROWS];
                _mm256_storeu_ps(out.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), sums[1]);
                out
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn not_above(keys: &[f32; ROWS], limit: f32) -> u16 {
            // SAFETY: the instructions are there, as the trait demands; each load is of 32 bytes
            // from half of an array of 64.
            unsafe {
                let limit = _mm256_set1_ps(limit);
                let bits = |half: usize| {
                    let keys = _mm256_loadu_ps(keys.as_ptr().add(8 * half));
                    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NGT_UQ>(keys, limit)) as u16
                };
                bits(0) | bits(1) << 8
            }
        }

        // SAFETY: the caller's promise is that of the trait.
        #[inline(always)]
        unsafe fn smallest(keys: &[f32; ROWS]) -> f32 {
            // SAFETY: as above.
            unsafe {
                let infinite = _mm256_set1_ps(f32::INFINITY);
                // A NaN as the first operand gives the second.
                let low = _mm256_min_ps(_mm256_loadu_ps(keys.as_ptr()), infinite);
                let keys = _mm256_min_ps(_mm256_loadu_ps(keys.as_ptr().add(8)), low);
                let mut halves = [0.0f32; 8];
                _mm256_storeu_ps(halves.as_mut_ptr(), keys);
                halves.into_iter().fold(f32::INFINITY, f32::min)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of instructions that this processor has gives what plain loops give, at the
    /// largest numbers too.
    #[test]
    fn all_ways_agree() {
        for width in [8, 64, 176] {
            let number = |i: usize| match i % 5 {
                0 => -127,
                1 => 127,
                _ => ((i * 7919) % 255) as i32 as i8,
            };
            let block: Vec<i8> = (0..ROWS * width).map(number).collect();
            let pairs: Vec<i32> = (0..width / 2)
                .map(|i| match i % 3 {
                    0 => 32_767 | (-32_767 << 16),
                    _ => (i as i32).wrapping_mul(0x1234_5679),
                })
                .collect();
            let mut expected = [0i64; ROWS];
            for (at, &pair) in pairs.iter().enumerate() {
                let (low, high) = (i64::from(pair as i16), i64::from(pair >> 16));
                for (row, sum) in expected.iter_mut().enumerate() {
                    let at = at * 2 * ROWS + 2 * row;
                    *sum += i64::from(block[at]) * low + i64::from(block[at + 1]) * high;
                }
            }
            // SAFETY: any processor has what this needs.
            let found = unsafe { Portable::dots(&block, &pairs) };
            assert_eq!(found.map(i64::from), expected, "{width}");
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2, checked on the line above.
                    let found = unsafe { avx2(&block, &pairs) };
                    assert_eq!(found.map(i64::from), expected, "{width}");
                }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                    // SAFETY: the processor has both, checked on the line above.
                    let found = unsafe { avx512(&block, &pairs) };
                    assert_eq!(found.map(i64::from), expected, "{width}");
                }
            }
        }
    }

    /// Boxes are as far away for every set of instructions, but for the rounding of sums.
    #[test]
    fn all_ways_measure_alike() {
        let byte = |i: usize| (i.wrapping_mul(7919) >> 3) as u8;
        for quads in [3, 11, 45] {
            let group: Vec<u8> = (0..quads * 2 * SIDE).map(byte).collect();
            let query: Vec<Quad> = (0..quads)
                .map(|i| Quad {
                    down: [byte(3 * i), 0, 255, byte(5 * i)],
                    up: [byte(3 * i).saturating_add(1), 0, 255, byte(5 * i)],
                    weight: 0.5 + i as f32,
                })
                .collect();
            // SAFETY: any processor has what this needs.
            let expected = unsafe { Portable::half_gaps(&group, &query) };
            let check = |found: [f32; ROWS]| {
                for (found, expected) in found.into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= expected * 1e-5,
                        "{found} {expected}"
                    );
                }
            };
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2, checked on the line above.
                    check(unsafe { half_gaps_avx2(&group, &query) });
                }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                    // SAFETY: the processor has both, checked on the line above.
                    check(unsafe { half_gaps_avx512(&group, &query) });
                }
            }
            check(expected);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn half_gaps_avx2(group: &[u8], query: &[Quad]) -> [f32; ROWS] {
        // SAFETY: compiled for AVX2, and so is whoever calls this.
        unsafe { Avx2::half_gaps(group, query) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn half_gaps_avx512(group: &[u8], query: &[Quad]) -> [f32; ROWS] {
        // SAFETY: compiled for these, and so is whoever calls this.
        unsafe { Avx512::half_gaps(group, query) }
    }

    /// NaN is above nothing, and not the smallest.
    #[test]
    fn all_ways_compare_alike() {
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        let kinds = [
            [
                0.5, -1.0, inf, nan, 2.0, 2.5, -inf, 0.0, 1.0, nan, 7.0, 2.0, 3.0, -0.0, 1e30, 2.1,
            ],
            [nan; ROWS],
            [inf; ROWS],
            [
                4.0, 3.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.5, 3.5, 2.5, 9.5, 8.5, 7.5, 6.5, 5.5, nan,
            ],
        ];
        for keys in kinds {
            let smallest = keys.iter().copied().fold(inf, f32::min);
            for limit in [2.0, -3.0, inf, 8.0] {
                let mut expected = 0u16;
                for (row, key) in keys.iter().enumerate() {
                    expected |= u16::from(key.is_nan() || *key <= limit) << row;
                }
                // SAFETY: any processor has what this needs.
                let found = unsafe { compared::<Portable>(&keys, limit) };
                assert_eq!(found, (expected, smallest), "{keys:?}, {limit}");
                #[cfg(target_arch = "x86_64")]
                {
                    if is_x86_feature_detected!("avx2") {
                        // SAFETY: the processor has AVX2, checked on the line above.
                        let found = unsafe { compared_avx2(&keys, limit) };
                        assert_eq!(found, (expected, smallest), "{keys:?}, {limit}");
                    }
                    if is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512vnni")
                    {
                        // SAFETY: the processor has both, checked on the line above.
                        let found = unsafe { compared_avx512(&keys, limit) };
                        assert_eq!(found, (expected, smallest), "{keys:?}, {limit}");
                    }
                }
            }
        }
    }

    /// # Safety
    ///
    /// That of [`Dots::not_above`].
    // SAFETY: nothing is done here but what the trait has.
    #[inline(always)]
    unsafe fn compared<D: Dots>(keys: &[f32; ROWS], limit: f32) -> (u16, f32) {
        // SAFETY: the caller's promise.
        unsafe { (D::not_above(keys, limit), D::smallest(keys)) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn compared_avx2(keys: &[f32; ROWS], limit: f32) -> (u16, f32) {
        // SAFETY: compiled for AVX2, and so is whoever calls this.
        unsafe { compared::<Avx2>(keys, limit) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn compared_avx512(keys: &[f32; ROWS], limit: f32) -> (u16, f32) {
        // SAFETY: compiled for these, and so is whoever calls this.
        unsafe { compared::<Avx512>(keys, limit) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2(block: &[i8], pairs: &[i32]) -> [i32; ROWS] {
        // SAFETY: compiled for AVX2, and so is whoever calls this.
        unsafe { Avx2::dots(block, pairs) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512(block: &[i8], pairs: &[i32]) -> [i32; ROWS] {
        // SAFETY: compiled for these, and so is whoever calls this.
        unsafe { Avx512::dots(block, pairs) }
    }
}
