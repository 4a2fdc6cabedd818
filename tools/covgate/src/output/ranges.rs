//! Lines in few words.

/// The most ranges that are written of one file.
const MOST: usize = 40;

/// `3-5, 9`, cut where there are many.
pub fn of(lines: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let range = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let text = ranges.iter().take(MOST).map(range).collect::<Vec<_>>().join(", ");
    let rest = ranges.iter().skip(MOST).map(|(first, last)| last - first + 1).sum::<u32>();
    if rest == 0 { text } else { format!("{text} and {rest} more") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        assert_eq!(super::of(&[3, 4, 5, 9, 11, 12]), "3-5, 9, 11-12");
    }

    #[test]
    fn many_ranges_are_cut() {
        let odd: Vec<u32> = (0..1000).map(|line| 2 * line + 1).collect();
        assert!(super::of(&odd).ends_with("77, 79 and 960 more"), "{}", super::of(&odd));
    }
}
