//! Numbers that look random and are the same in every run with the same seed.

/// SplitMix64: eight bytes of state, which 13,000 users can afford.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1; `end` is small, so the bias of the remainder is nothing.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How long until the next of independent events that are `mean` apart; at most five times that.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        (-(1.0 - self.unit()).ln()).min(5.0) * mean
    }
}

/// Keys of which the n-th most popular is asked for 1/n times as often as the first.
pub struct Zipf {
    /// Chance of this rank or a better one.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub fn new(keys: usize) -> Zipf {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        for chance in &mut cumulative {
            *chance /= sum;
        }
        Zipf { cumulative }
    }

    /// A key from 1 to the number of keys; popular ones are spread over the table.
    pub fn draw(&self, random: &mut Random) -> usize {
        let drawn = random.unit();
        let keys = self.cumulative.len();
        let rank = self
            .cumulative
            .partition_point(|&chance| chance < drawn)
            .min(keys - 1);
        // 7919 is a prime, so that this visits every key once.
        rank * 7919 % keys + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_as_popular_as_zipf_says() {
        let (zipf, mut random) = (Zipf::new(20_000), Random::new(1));
        let draws = 200_000;
        let first = (0..draws).filter(|_| zipf.draw(&mut random) == 1).count();
        // 1 / (ln 20000 + 0.577) = 9.54 %
        assert!((0.090..0.101).contains(&(first as f64 / f64::from(draws))));
    }

    #[test]
    fn think_times_have_their_mean() {
        let mut random = Random::new(7);
        let sum: f64 = (0..100_000).map(|_| random.exponential(2.0)).sum();
        assert!((1.94..2.03).contains(&(sum / 100_000.0)));
    }
}
