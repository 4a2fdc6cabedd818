//! The arithmetic: integers against a decimal threshold, with nothing rounded.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How much there is to cover, and how much is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// What the tests reached.
    pub covered: u64,
    /// What they could have reached.
    pub total: u64,
}

impl Count {
    /// `82.41`: two decimals, cut, so that it never shows more than is there. Nothing to cover is `0.00`.
    pub fn percent(self) -> String {
        let hundredths =
            (u128::from(self.covered) * 10_000).checked_div(u128::from(self.total)).unwrap_or_default();
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }

    /// Whether the share covered is at least the threshold.
    pub fn reaches(self, threshold: &Percent) -> bool {
        let share = u128::from(self.covered) * 100 * threshold.scale();
        share.cmp(&(threshold.digits * u128::from(self.total))) != Ordering::Less
    }
}

/// A percentage as it was written: `80`, `79.995`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Percent {
    /// All digits, without the point.
    digits: u128,
    /// How many of them stand behind the point.
    decimals: u32,
    text: String,
}

impl Percent {
    fn scale(&self) -> u128 {
        10_u128.pow(self.decimals)
    }
}

/// The most decimals that are taken; the comparison stays within 128 bits.
const MAX_DECIMALS: usize = 12;

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "a percentage from 0 to 100, such as 80 or 79.5".to_owned();
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || part.len() > MAX_DECIMALS || !digits(whole) || !digits(part)
        {
            return Err(wrong());
        }
        let decimals = u32::try_from(part.len()).map_err(|_| wrong())?;
        let percent = Self {
            digits: format!("{whole}{part}").parse().map_err(|_| wrong())?,
            decimals,
            text: number.to_owned(),
        };
        if percent.digits > 100 * percent.scale() { Err(wrong()) } else { Ok(percent) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(covered: u64, total: u64, threshold: &str) -> bool {
        Count { covered, total }.reaches(&threshold.parse().unwrap())
    }

    #[test]
    fn nothing_passes_by_rounding() {
        assert!(!reaches(7999, 10_000, "80"));
        assert!(!reaches(79_999_999, 100_000_000, "80"));
        assert!(reaches(4, 5, "80"));
        assert!(reaches(2, 3, "66.6666"));
        assert!(!reaches(2, 3, "66.66667"));
        assert!(reaches(u64::MAX, u64::MAX, "100.000000000000"));
        assert!(!reaches(u64::MAX - 1, u64::MAX, "100"));
    }

    #[test]
    fn the_shown_figure_is_cut() {
        assert_eq!(Count { covered: 99_999, total: 100_000 }.percent(), "99.99");
        assert_eq!(Count { covered: 2, total: 3 }.percent(), "66.66");
        assert_eq!(Count { covered: 1, total: 1 }.percent(), "100.00");
        assert_eq!(Count::default().percent(), "0.00");
    }

    #[test]
    fn thresholds() {
        for bad in ["", "-1", "100.1", "1e2", "eighty", "80,5", "1000"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        assert_eq!("79.50".parse::<Percent>().unwrap().to_string(), "79.50");
    }
}
