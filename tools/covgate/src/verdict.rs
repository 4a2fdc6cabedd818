//! The arithmetic: integers against a decimal threshold, with nothing rounded.

use std::fmt;
use std::str::FromStr;

/// The most that a report may count of anything; what is larger is no count. It keeps every
/// comparison below within 128 bits.
pub const MAX_COUNT: u64 = 1_000_000_000_000;

/// The most decimals of a percentage.
const MAX_DECIMALS: usize = 9;

/// The most decimals of a percentage that a generator rounds to.
const MAX_RATE_DECIMALS: u32 = 2;

/// How much there is to cover, and how much of it is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// What the tests reached.
    pub covered: u64,
    /// What they could have reached.
    pub total: u64,
}

impl Count {
    /// A count, if it can be one: not more covered than there is, and within [`MAX_COUNT`].
    pub fn new(covered: u64, total: u64) -> Option<Self> {
        (covered <= total && total <= MAX_COUNT).then_some(Self { covered, total })
    }

    /// What this counts beyond `part`, if `part` is a part of it and not all.
    pub fn beyond(self, part: Self) -> Option<Self> {
        let rest = Self {
            covered: self.covered.checked_sub(part.covered)?,
            total: self.total.checked_sub(part.total)?,
        };
        (rest.total > 0 && rest.covered <= rest.total).then_some(rest)
    }

    /// The percentage with two decimals, cut, so that it never shows more than is there: `82.41`.
    /// Nothing to cover is `0.00`.
    pub fn percent(self) -> String {
        let hundredths =
            (u128::from(self.covered) * 10_000).checked_div(u128::from(self.total)).unwrap_or_default();
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }

    /// Whether the covered share is at least the threshold; with nothing to cover it is not.
    pub fn reaches(self, threshold: &Percent) -> bool {
        self.total > 0
            && u128::from(self.covered) * 100 * threshold.scale() >= threshold.digits * u128::from(self.total)
    }

    /// Whether the percentage is this one, rounded or cut; with nothing to cover it is any.
    pub fn rounds_to(self, percent: &Percent) -> bool {
        // A rate has four decimals or two, less the zeros at its end; further ones are a binary fraction's.
        let precision = 10_u128.pow(percent.decimals().min(MAX_RATE_DECIMALS));
        let exact = u128::from(self.covered) * 100 * percent.scale();
        let stated = percent.digits * u128::from(self.total);
        self.total == 0 || exact.abs_diff(stated) * precision < u128::from(self.total) * percent.scale()
    }

    /// Whether the share is at most `points` percentage points below that of `base`.
    pub fn holds(self, base: Self, points: &Percent) -> bool {
        let hundred = 100 * points.scale();
        let now = u128::from(self.covered) * hundred * u128::from(base.total);
        let then = u128::from(base.covered) * hundred * u128::from(self.total);
        let allowed = points.digits * u128::from(base.total) * u128::from(self.total);
        now + allowed >= then
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.covered += other.covered;
        self.total += other.total;
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, count| {
            sum += count;
            sum
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.covered, self.total)
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
    /// The percentage of a rate from 0 to 1 that is written as `0.8333`.
    pub fn of_rate(rate: &str) -> Option<Self> {
        let (whole, part) = rate.split_once('.').unwrap_or((rate, ""));
        let is_number = rate.bytes().all(|c| c.is_ascii_digit() || c == b'.');
        if !is_number || (whole.is_empty() && part.is_empty()) || part.contains('.') {
            return None;
        }
        let part = format!("{:0<2}", &part[..part.len().min(MAX_DECIMALS + 2)]);
        let (hundredths, rest) = part.split_at(2);
        let digits = format!("{whole}{hundredths}");
        let percent = format!("{:0>1}.{rest}", digits.trim_start_matches('0'));
        percent.trim_end_matches('.').parse().ok()
    }

    /// How many digits stand behind the point.
    pub const fn decimals(&self) -> u32 {
        self.decimals
    }

    /// The nearest binary fraction, for the rules of tools that compare those.
    pub fn nearest_double(&self) -> f64 {
        self.text.parse().unwrap_or(f64::NAN)
    }

    /// The binary fraction nearest to a hundredth of it.
    pub fn nearest_ratio(&self) -> f64 {
        format!("{}e-{}", self.digits, self.decimals + 2).parse().unwrap_or(f64::NAN)
    }

    /// The percentage as a count of its smallest parts: 79.5 is 795 of 1000.
    pub fn as_count(&self) -> Count {
        let [covered, total] =
            [self.digits, 100 * self.scale()].map(|part| u64::try_from(part).unwrap_or(MAX_COUNT));
        Count { covered, total }
    }

    fn scale(&self) -> u128 {
        10_u128.pow(self.decimals)
    }
}

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a percentage from 0 to 100 with at most 9 decimals, such as 80 or 79.5";
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        let fits = !whole.is_empty() && whole.len() <= 3 && part.len() <= MAX_DECIMALS;
        if !fits || !is_digits(whole) || !is_digits(part) {
            return Err(WRONG);
        }
        let percent = Self {
            digits: format!("{whole}{part}").parse().map_err(|_| WRONG)?,
            decimals: u32::try_from(part.len()).map_err(|_| WRONG)?,
            text: number.to_owned(),
        };
        if percent.digits > 100 * percent.scale() { Err(WRONG) } else { Ok(percent) }
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

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    fn count(covered: u64, total: u64) -> Count {
        Count::new(covered, total).unwrap()
    }

    #[test]
    fn nothing_passes_by_rounding() {
        assert!(!count(7999, 10_000).reaches(&percent("80")));
        assert!(!count(79_999_999, 100_000_000).reaches(&percent("80")));
        assert!(count(4, 5).reaches(&percent("80")));
        assert!(count(2, 3).reaches(&percent("66.6666")));
        assert!(!count(2, 3).reaches(&percent("66.66667")));
        assert!(count(MAX_COUNT, MAX_COUNT).reaches(&percent("100.000000000")));
        assert!(!count(MAX_COUNT - 1, MAX_COUNT).reaches(&percent("100")));
    }

    #[test]
    fn the_shown_figure_is_cut() {
        assert_eq!(count(99_999, 100_000).percent(), "99.99");
        assert_eq!(count(2, 3).percent(), "66.66");
        assert_eq!(count(1, 1).percent(), "100.00");
        assert_eq!(Count::default().percent(), "0.00");
    }

    #[test]
    fn a_drop_is_compared_exactly_too() {
        assert!(count(80, 100).holds(count(81, 100), &percent("1")));
        assert!(!count(79_999, 100_000).holds(count(81, 100), &percent("1")));
        assert!(count(1, 3).holds(count(2, 6), &percent("0")));
        assert!(count(MAX_COUNT, MAX_COUNT).holds(count(MAX_COUNT, MAX_COUNT), &percent("0.000000001")));
    }

    #[test]
    fn a_rate_is_a_rounded_percentage() {
        let rate = |text: &str| Percent::of_rate(text);
        for (text, shown) in [("1", "100"), ("0", "0"), ("0.5", "50"), ("0.8333", "83.33"), (".05", "5")] {
            assert_eq!(rate(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(rate("0.83333333333333337").unwrap().to_string(), "83.333333333");
        for wrong in ["NaN", "", "1.01", "-1", "83.3", "1e-05", "0.1\u{e9}", "x.5", ".", "0.1.2"] {
            assert!(rate(wrong).is_none(), "{wrong}");
        }
        for text in ["0.8333", "0.8334", "0.83", "0.84", "0.83333333333333337", "0.833"] {
            assert!(count(5, 6).rounds_to(&rate(text).unwrap()), "{text}");
        }
        for text in ["0.8335", "0.82", "0.8", "1", "0.8433333333", "0"] {
            assert!(!count(5, 6).rounds_to(&rate(text).unwrap()), "{text}");
        }
        assert!(count(MAX_COUNT, MAX_COUNT).rounds_to(&percent("100.000000000")));
    }

    #[test]
    fn only_percentages_are_taken() {
        for wrong in ["", "-1", "100.1", "1e2", "eighty", "80,5", "1000", "."] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
        assert_eq!(percent("79.50").to_string(), "79.50");
        assert_eq!(percent("80%").to_string(), "80");
    }
}
