//! Latencies: a log-linear histogram of nanoseconds, 32 buckets an octave (within 3 %).

/// Counts of nanoseconds; adding is one shift and one increment.
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

const STEPS: usize = 32;

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; 64 * STEPS], count: 0, max: 0 }
    }
}

impl Histogram {
    fn index(ns: u64) -> usize {
        let v = ns.max(STEPS as u64);
        let octave = 63 - v.leading_zeros() as usize;
        (octave - 5) * STEPS + ((v >> (octave - 5)) & 31) as usize
    }

    #[inline]
    pub fn add(&mut self, ns: u64) {
        self.buckets[Self::index(ns)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in nanoseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value in nanoseconds below which the share `q` (0 to 1) lies; 0 when nothing was added.
    pub fn quantile(&self, q: f64) -> u64 {
        let wanted = ((self.count as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                let low = (STEPS + i % STEPS) as u64;
                return (low << (i / STEPS)).min(self.max);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut h = Histogram::default();
        (1..=1000u64).for_each(|i| h.add(i * 1000));
        let close = |got: u64, want: u64| got.abs_diff(want) * 20 < want;
        assert!(close(h.quantile(0.5), 500_000), "{}", h.quantile(0.5));
        assert!(close(h.quantile(0.99), 990_000), "{}", h.quantile(0.99));
        assert_eq!((h.count(), h.max()), (1000, 1_000_000));
    }

    #[test]
    fn nothing_added_is_zero() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
