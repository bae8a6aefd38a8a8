//! 2x2 max pooling with stride 2, some rows at a time.

use crate::dispatch::per_instruction_set;

per_instruction_set! {
    /// Pools `height` rows; an odd side's last window is narrower. `choice`, as long as y, keeps
    /// which of the four won (0 to 3, row by row; the first of equals).
    pub(crate) fn pool_rows<V>(height: usize, width: usize, channels: usize, x: &[f32], y: &mut [f32], choice: &mut [u8]) {
        let pooled_width = width.div_ceil(2);
        for (window, (y, choice)) in
            y.chunks_exact_mut(channels).zip(choice.chunks_exact_mut(channels)).enumerate()
        {
            let (row, column) = (window / pooled_width * 2, window % pooled_width * 2);
            // Beyond the border the inner neighbour stands in: an equal never wins.
            let (below, right) = ((row + 1).min(height - 1), (column + 1).min(width - 1));
            let pixel = |row: usize, column: usize| &x[(row * width + column) * channels..][..channels];
            let (p0, p1) = (pixel(row, column), pixel(row, right));
            let (p2, p3) = (pixel(below, column), pixel(below, right));
            for c in 0..channels {
                let (mut best, mut which) = (p0[c], 0);
                (best, which) = if p1[c] > best { (p1[c], 1) } else { (best, which) };
                (best, which) = if p2[c] > best { (p2[c], 2) } else { (best, which) };
                (best, which) = if p3[c] > best { (p3[c], 3) } else { (best, which) };
                y[c] = best;
                choice[c] = which;
            }
        }
    }
}

per_instruction_set! {
    /// The same without keeping which one won.
    pub(crate) fn pool_rows_only<V>(height: usize, width: usize, channels: usize, x: &[f32], y: &mut [f32]) {
        let pooled_width = width.div_ceil(2);
        for (window, y) in y.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (window / pooled_width * 2, window % pooled_width * 2);
            let (below, right) = ((row + 1).min(height - 1), (column + 1).min(width - 1));
            let pixel = |row: usize, column: usize| &x[(row * width + column) * channels..][..channels];
            let (p0, p1) = (pixel(row, column), pixel(row, right));
            let (p2, p3) = (pixel(below, column), pixel(below, right));
            for c in 0..channels {
                let larger = |a: f32, b: f32| if b > a { b } else { a };
                y[c] = larger(larger(larger(p0[c], p1[c]), p2[c]), p3[c]);
            }
        }
    }
}
