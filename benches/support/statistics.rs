//! What many measurements of one thing say.

/// A median, and how far it can be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    pub value: f64,
    /// The ends of the interval in which the true median lies with 95 %
    /// confidence; of all values where there are too few for that.
    pub low: f64,
    pub high: f64,
}

impl Median {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let value = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        let skip = skip(count);
        Self { value, low: values[skip], high: values[count - 1 - skip] }
    }

    /// What was counted and not estimated.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), low: f(self.low), high: f(self.high) }
    }
}

/// How many of the smallest values, and of the largest, lie outside the
/// interval. Whether a value is below the true median is a coin's toss, so the
/// number of those that are is binomial, whatever the values' distribution.
fn skip(count: usize) -> usize {
    let mut probability = 0.5f64.powi(count as i32);
    let mut tail = probability;
    let mut skip = 0;
    loop {
        probability *= (count - skip) as f64 / (skip + 1) as f64;
        // One more value left out at each end: is that too many?
        if tail > 0.025 || tail + probability > 0.025 {
            return skip;
        }
        tail += probability;
        skip += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // As printed in tables of the sign test, two-sided, 5 %.
        for (count, outside) in [(1, 0), (5, 0), (6, 0), (9, 1), (12, 2), (20, 5), (25, 7)] {
            assert_eq!(skip(count), outside, "{count} values");
        }
    }

    #[test]
    fn medians() {
        let median = Median::of([3.0, 1.0, 2.0]);
        assert_eq!((median.value, median.low, median.high), (2.0, 1.0, 3.0));
        assert_eq!(Median::of([1.0, 2.0]).value, 1.5);
        assert_eq!(Median::of((1..=20).map(f64::from)).low, 6.0);
    }
}
