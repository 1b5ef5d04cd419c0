//! Does memory grow? A straight line through its samples, and how sure its slope is.

/// A line through points, by least squares.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// A unit of y for each of x.
    pub slope: f64,
    /// Standard error of the slope. Samples of memory that follow each other are alike, so they
    /// count as fewer: as many as their residuals' correlation leaves (an AR(1) model).
    pub error: f64,
    /// The mean of y.
    pub mean: f64,
    /// From the first x to the last.
    pub span: f64,
}

/// Growth over the whole time that is less than this share of the memory is no leak that a test of
/// this length can tell from an allocator's habits.
const NOTHING: f64 = 0.005;

impl Fit {
    /// Nothing for fewer than three points, or points above each other.
    pub fn through(points: &[(f64, f64)]) -> Option<Fit> {
        let count = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
        let mean = points.iter().map(|p| p.1).sum::<f64>() / count;
        let spread: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        if spread == 0.0 {
            return None;
        }
        let slope = points
            .iter()
            .map(|p| (p.0 - mean_x) * (p.1 - mean))
            .sum::<f64>()
            / spread;
        let residuals: Vec<f64> = points
            .iter()
            .map(|p| p.1 - mean - slope * (p.0 - mean_x))
            .collect();
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        let alike: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = if squares > 0.0 {
            (alike / squares).clamp(0.0, 0.99)
        } else {
            0.0
        };
        let fewer = ((1.0 + correlation) / (1.0 - correlation)).sqrt();
        let error = (squares / (count - 2.0) / spread).sqrt() * fewer;
        let span = points[points.len() - 1].0 - points[0].0;
        Some(Fit {
            slope,
            error,
            mean,
            span,
        })
    }

    /// The slope is beyond noise: more than three standard errors above none, and what it adds up
    /// to is not nothing.
    pub fn grows(&self) -> bool {
        self.slope > 3.0 * self.error && self.slope * self.span > NOTHING * self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn noisy(slope: f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(3);
        (0..600)
            .map(|x| {
                let x = f64::from(x);
                (x, 1000.0 + slope * x + 10.0 * random.unit())
            })
            .collect()
    }

    #[test]
    fn a_leak_is_found_and_noise_is_not() {
        let leak = Fit::through(&noisy(0.1)).unwrap();
        assert!((0.09..0.11).contains(&leak.slope) && leak.grows());
        assert!(!Fit::through(&noisy(0.0)).unwrap().grows());
    }

    #[test]
    fn a_walk_that_happens_to_end_higher_is_unsure() {
        let mut random = Random::new(5);
        let mut at = 1000.0;
        let points: Vec<(f64, f64)> = (0..600)
            .map(|x| {
                at += random.unit() - 0.5;
                (f64::from(x), at)
            })
            .collect();
        assert!(!Fit::through(&points).unwrap().grows());
    }

    #[test]
    fn two_points_are_no_line() {
        assert!(Fit::through(&[(0.0, 1.0), (1.0, 2.0)]).is_none());
    }
}
