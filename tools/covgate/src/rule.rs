//! When other tools say that a threshold is reached.
//!
//! The exact comparison is the default. The others repeat the arithmetic of the tool they are named
//! for, binary fractions included, for projects that have to keep its verdicts.

use crate::verdict::{Count, Percent};

/// How a count is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Rule {
    /// Nothing is rounded
    #[default]
    Exact,
    /// Rounded, half to even, to the threshold's decimals; 100 only by all (`coverage report --fail-under`)
    #[value(name = "coverage.py")]
    CoveragePy,
    /// The ratio as a binary fraction (JaCoCo's check)
    Jacoco,
    /// Cut to two decimals (nyc, c8, Jest)
    Istanbul,
    /// Rounded to one decimal, 100 only by all (gcovr)
    Gcovr,
    /// Rounded to five decimals; a line left by some of its branches only is missed (Codecov)
    Codecov,
}

impl Rule {
    /// The name that `--rule` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::CoveragePy => "coverage.py",
            Self::Jacoco => "jacoco",
            Self::Istanbul => "istanbul",
            Self::Gcovr => "gcovr",
            Self::Codecov => "codecov",
        }
    }

    /// Whether this rule lets a count pass.
    pub fn passes(self, count: Count, threshold: &Percent) -> bool {
        match self {
            Self::Exact => count.reaches(threshold),
            Self::CoveragePy => coverage_py(count, threshold),
            Self::Jacoco => count.total == 0 || ratio(count) >= threshold.nearest_ratio(),
            Self::Istanbul => count.total == 0 || cut(count).reaches(threshold),
            Self::Gcovr => count.total > 0 && gcovr(count) >= threshold.nearest_double(),
            Self::Codecov => count.total == 0 || rounded(double(count), 5) >= threshold.nearest_double(),
        }
    }
}

/// coverage/results.py of 7.17.1 and later with `precision = 0`: rounds to as many digits as the
/// threshold has decimals.
fn coverage_py(count: Count, threshold: &Percent) -> bool {
    let percent = if count.total == 0 { 100.0 } else { double(count) };
    let fail_under = threshold.nearest_double();
    if fail_under >= 100.0 {
        percent >= 100.0
    } else {
        rounded(percent, threshold.decimals() as usize) >= fail_under
    }
}

/// gcovr's `CoverageStat.percent`: one decimal, and never 100.0 while something is missing.
fn gcovr(count: Count) -> f64 {
    let percent = rounded(double(count), 1);
    if count.covered < count.total { percent.min(99.9) } else { percent }
}

/// The percentage as these tools compute it, in binary.
#[expect(clippy::cast_precision_loss, reason = "the tools lose it too")]
fn double(count: Count) -> f64 {
    100.0 * count.covered as f64 / count.total as f64
}

#[expect(clippy::cast_precision_loss, reason = "JaCoCo loses it too")]
fn ratio(count: Count) -> f64 {
    count.covered as f64 / count.total as f64
}

/// Rounds as Python does: the nearest decimal to the exact value of the double, half to even.
fn rounded(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

/// The percentage cut to two decimals.
fn cut(count: Count) -> Count {
    let hundredths = u128::from(count.covered) * 10_000 / u128::from(count.total);
    Count { covered: u64::try_from(hundredths).unwrap_or_default(), total: 10_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(rule: Rule, covered: u64, total: u64, threshold: &str) -> bool {
        rule.passes(Count { covered, total }, &threshold.parse().unwrap())
    }

    #[test]
    fn coverage_py_rounds_to_the_decimals_of_the_threshold() {
        assert!(passes(Rule::CoveragePy, 7999, 10_000, "80"));
        assert!(passes(Rule::CoveragePy, 795, 1000, "80"));
        assert!(!passes(Rule::CoveragePy, 7949, 10_000, "80"));
        assert!(!passes(Rule::CoveragePy, 805, 1000, "81"), "half to even");
        assert!(!passes(Rule::CoveragePy, 796, 1000, "79.9"));
        assert!(!passes(Rule::CoveragePy, 99_999, 100_000, "100"));
        assert!(!passes(Rule::Exact, 7999, 10_000, "80"));
    }

    #[test]
    fn the_others() {
        assert!(passes(Rule::Jacoco, 0, 0, "80"));
        assert!(!passes(Rule::Jacoco, 7999, 10_000, "80"));
        assert!(passes(Rule::Istanbul, 0, 0, "80"));
        assert!(!passes(Rule::Istanbul, 79_996, 100_000, "79.995"), "79.99 is compared");
        assert!(passes(Rule::Exact, 79_996, 100_000, "79.995"));
        assert!(passes(Rule::Gcovr, 7996, 10_000, "80"));
        assert!(!passes(Rule::Gcovr, 99_999, 100_000, "100"));
        assert!(passes(Rule::Codecov, 79_999_999, 100_000_000, "80"));
        assert!(!passes(Rule::Codecov, 79_999, 100_000, "80"));
    }
}
