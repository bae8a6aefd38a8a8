//! An order of rows in which those next to each other are alike.

use super::dots::ROWS;

/// Rows that are looked at to find the direction in which to divide many of them.
const LOOKED_AT: usize = 128;

/// From so many rows on, the two halves are put in order at once, by all threads.
const MIN_SHARED: usize = 4096;

/// Who puts rows in order.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Threads {
    /// The calling thread, which may hold locks that the others wait for.
    Own,
    /// Those of the current rayon pool.
    All,
}

/// Puts rows in an order in which each block's are near each other: divided at the middle of the
/// coordinate that varies most, again and again, as for a k-d tree. `value` gives a row's
/// coordinate.
pub(super) fn by_nearness(
    order: &mut [usize],
    dims: usize,
    value: &(impl Fn(usize, usize) -> f32 + Sync),
    threads: Threads,
) {
    let len = order.len();
    if len <= ROWS {
        return;
    }
    let stride = len.div_ceil(LOOKED_AT);
    let variance = |dim: usize| {
        let values = order.iter().step_by(stride).map(|&row| value(row, dim));
        let (mut sum, mut squares, mut count) = (0.0f64, 0.0f64, 0.0f64);
        for value in values.map(f64::from) {
            sum += value;
            squares += value * value;
            count += 1.0;
        }
        squares / count - (sum / count).powi(2)
    };
    let variances: Vec<f64> = (0..dims).map(variance).collect();
    let widest = (0..dims).max_by(|&a, &b| variances[a].total_cmp(&variances[b]));
    let widest = widest.unwrap_or(0);
    // Whole blocks on the lower side.
    let middle = (len / 2).next_multiple_of(ROWS).min(len - 1);
    let key = |row: usize| value(row, widest);
    order.select_nth_unstable_by(middle, |&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
    let (low, high) = order.split_at_mut(middle);
    if threads == Threads::All && len >= MIN_SHARED {
        rayon::join(
            || by_nearness(low, dims, value, threads),
            || by_nearness(high, dims, value, threads),
        );
    } else {
        by_nearness(low, dims, value, threads);
        by_nearness(high, dims, value, threads);
    }
}

/// Puts the row that was at `order[i]` at `i`, for every `i`. Rows have `width` values.
pub(super) fn permute<T: Copy>(rows: &mut [T], width: usize, order: &[usize]) {
    let mut is_placed = vec![false; order.len()];
    let mut first_row: Vec<T> = Vec::with_capacity(width);
    for start in 0..order.len() {
        if is_placed[start] {
            continue;
        }
        first_row.clear();
        first_row.extend_from_slice(&rows[start * width..(start + 1) * width]);
        let mut to = start;
        loop {
            is_placed[to] = true;
            let from = order[to];
            if from == start {
                rows[to * width..(to + 1) * width].copy_from_slice(&first_row);
                break;
            }
            rows.copy_within(from * width..(from + 1) * width, to * width);
            to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_block_are_near_each_other() {
        // Points of a grid of 32 x 32, in an order that jumps about.
        let place = |row: usize| row * 357 % 1024;
        let value = |row: usize, dim: usize| match dim {
            0 => (place(row) % 32) as f32,
            _ => (place(row) / 32) as f32,
        };
        let mut order: Vec<usize> = (0..1024).collect();
        by_nearness(&mut order, 2, &value, Threads::Own);
        for block in order.chunks(ROWS) {
            for dim in 0..2 {
                let values = || block.iter().map(|&row| value(row, dim));
                let width = values().fold(0.0, f32::max) - values().fold(99.0, f32::min);
                assert!(width <= 7.0, "{width}");
            }
        }
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1024));
    }

    #[test]
    fn all_threads_put_rows_in_the_same_order() {
        let value = |row: usize, dim: usize| (row * (357 + dim) % 9973) as f32;
        let mut orders = [Threads::Own, Threads::All].map(|threads| {
            let mut order: Vec<usize> = (0..3 * MIN_SHARED + 5).collect();
            by_nearness(&mut order, 3, &value, threads);
            order
        });
        assert_eq!(orders[0], orders[1]);
        orders[0].sort_unstable();
        assert!(orders[0].iter().copied().eq(0..3 * MIN_SHARED + 5));
    }

    #[test]
    fn rows_that_are_all_alike_are_all_there() {
        for count in [0, 1, 16, 17, 100] {
            let mut order: Vec<usize> = (0..count).collect();
            by_nearness(&mut order, 3, &|_, _| 0.5, Threads::Own);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..count));
        }
    }

    #[test]
    fn rows_are_put_in_order() {
        let order = [3, 1, 0, 2, 5, 4];
        let mut rows: Vec<usize> = (0..12).collect();
        permute(&mut rows, 2, &order);
        let expected: Vec<usize> = order
            .iter()
            .flat_map(|&row| [2 * row, 2 * row + 1])
            .collect();
        assert_eq!(rows, expected);
    }
}
