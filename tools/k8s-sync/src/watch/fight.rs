//! An object that somebody changes again and again: it is healed ever more slowly instead of for ever.

use std::time::Duration;

use tokio::time::Instant;

/// The longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// An object that was left alone for so long is no longer fought over.
const PEACE: Duration = Duration::from_mins(1);
/// So many rounds are healed at once; further ones after growing pauses.
const QUICK_ROUNDS: u32 = 3;

/// How often an object was changed again soon after it was healed.
#[derive(Debug, Default)]
pub(super) struct Fight {
    rounds: u32,
    healed: Option<Instant>,
}

impl Fight {
    /// One more round; how long to wait before healing.
    pub(super) fn another(&mut self, now: Instant) -> Duration {
        self.round(now, 0)
    }

    /// One more round with somebody who is known to go on: there is no quick one.
    pub(super) fn hopeless(&mut self, now: Instant) -> Duration {
        self.round(now, QUICK_ROUNDS)
    }

    fn round(&mut self, now: Instant, least: u32) -> Duration {
        if self.healed.is_none_or(|healed| now > healed + PEACE) {
            self.rounds = 0;
        }
        self.rounds = self.rounds.max(least) + 1;
        let pause = match self.rounds.checked_sub(QUICK_ROUNDS + 1) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(7)).min(LONGEST_PAUSE),
        };
        self.healed = Some(now + pause);
        pause
    }

    /// How many rounds there were, once they are too many to be chance.
    pub(super) fn rounds(&self) -> Option<u32> {
        (self.rounds > QUICK_ROUNDS).then_some(self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_slowed_down_and_forgotten() {
        let mut fight = Fight::default();
        let mut now = Instant::now();
        let pauses: Vec<u64> = (0..12)
            .map(|_| {
                let pause = fight.another(now);
                now += pause;
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(fight.rounds(), Some(12));
        assert_eq!(fight.another(now + PEACE + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(fight.rounds(), None);
        assert_eq!(Fight::default().hopeless(now), Duration::from_secs(1));
    }
}
