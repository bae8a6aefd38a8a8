//! What a kernel asks of an instruction set.

/// A register full of floats.
///
/// The kernels are written once over this trait; `arch` has one instance per instruction set.
///
/// # Safety
///
/// `LANES` floats, and no more, are read by `load` and written by `store`; the partial ones touch
/// only the first `count`. Every method may only be called where the instruction set is there.
pub(crate) unsafe trait Vector: Copy {
    /// Floats in a register.
    const LANES: usize;
    /// How many registers a tile may fill with sums, leaving room for its operands.
    const SUMS: usize;

    /// All lanes the same.
    unsafe fn splat(value: f32) -> Self;
    /// Reads `LANES` floats.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads `count` floats, at most `LANES`; the other lanes are zero.
    unsafe fn load_partial(from: *const f32, count: usize) -> Self;
    /// Writes `LANES` floats.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count` lanes, at most `LANES`.
    unsafe fn store_partial(self, to: *mut f32, count: usize);
    /// self · factor + sum.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    /// self + other.
    unsafe fn add(self, other: Self) -> Self;
    /// The larger of each pair.
    unsafe fn max(self, other: Self) -> Self;
    /// All lanes added up.
    unsafe fn total(self) -> f32;
    /// Each register's [`total`](Self::total).
    #[inline(always)]
    unsafe fn totals(registers: [Self; 8]) -> [f32; 8] {
        // SAFETY: as for every method, the caller has the instruction set.
        unsafe {
            let [a, b, c, d, e, f, g, h] = registers;
            [
                a.total(),
                b.total(),
                c.total(),
                d.total(),
                e.total(),
                f.total(),
                g.total(),
                h.total(),
            ]
        }
    }
}
