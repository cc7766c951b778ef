//! The run's generator: splitmix64 (Steele, Lea and Flood), small and good in every bit.

/// A stream of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    /// The stream of a state.
    pub(crate) const fn new(state: u64) -> Self {
        Self { state }
    }

    /// The stream of run `index` under `seed`.
    pub(crate) fn of_run(seed: u64, index: u64) -> Self {
        let mut first = Self::new(seed);
        let mixed = first.next() ^ index;
        let mut second = Self::new(mixed);
        Self::new(second.next())
    }

    /// A stream of its own for part `number` of this one.
    pub(crate) fn split(&self, number: u64) -> Self {
        Self::of_run(self.state, number)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // The bias is below limit / 2^64.
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// True once in `one_in` times.
    pub(crate) fn once_in(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}
