//! Who sends an engine's image: the engine, or this program.

use crate::engine::{Engine, EnginePush, LocalImage, Sending, is_unauthorized};
use crate::error::PushError;
use crate::push::Push;
use crate::registry::{TRIES, pause};
use crate::words::shown;

/// Who sends an engine's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Way {
    /// The engine, unless this program is sooner done
    #[default]
    Auto,
    /// The engine
    Daemon,
    /// This program, from the engine's storage where that can be read here, else from its export
    Direct,
}

impl Push<'_> {
    /// Lets the engine push, if that is wanted and is not the slower way; the digest and the bytes that it told.
    pub(crate) async fn by_engine(
        &self,
        engine: &Engine,
        local: &LocalImage,
        is_readable: bool,
    ) -> Result<Option<(Option<String>, u64)>, PushError> {
        // Older engines can't export an image without layers; there is nothing to compress in it.
        let direct = self.options.way == Way::Direct && !local.diff_ids.is_empty();
        if direct || self.options.dry_run {
            return Ok(None);
        }
        let automatic = self.options.way == Way::Auto;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        // The containerd store sends layers as it has them.
        let sends_as_it_is = local.description.is_some();
        // Of what can be read in the engine's storage nothing is exported.
        let exported = if is_readable { 0 } else { local.size };
        let is_too_much = |sending: &[Sending]| {
            automatic
                && if sends_as_it_is {
                    is_uncompressed(sending, local.size)
                } else {
                    is_faster_here(sending, exported, cores)
                }
        };
        let credentials = self.repository.credentials();
        let mut tries = 0;
        loop {
            let reason =
                match engine.push(self.image, self.tag(), credentials, is_too_much, self.console).await {
                    Ok(EnginePush::Done { digest, sent }) => return Ok(Some((digest, sent))),
                    Ok(EnginePush::Stopped { left }) if sends_as_it_is => {
                        format!("it would send {} that are not compressed", indicatif::HumanBytes(left))
                    }
                    Ok(EnginePush::Stopped { left }) => {
                        format!("it has {} to compress on one thread a layer", indicatif::HumanBytes(left))
                    }
                    Err(PushError::NoImage(image)) => return Err(PushError::NoImage(image)),
                    Err(error) if automatic => error.to_string(),
                    Err(
                        PushError::Engine { message, transient: true, .. } | PushError::NoEngine(message),
                    ) if tries + 1 < TRIES => {
                        tries += 1;
                        self.console.detail(format!("the engine failed ({}); trying again", shown(&message)));
                        tokio::time::sleep(pause(tries, None)).await;
                        continue;
                    }
                    Err(PushError::Engine { message, .. }) if is_unauthorized(&message) => {
                        return Err(self.repository.unauthorized(&message));
                    }
                    Err(error) => return Err(error),
                };
            self.console.note(format!("sending directly, not through the engine: {}", shown(&reason)));
            return Ok(None);
        }
    }
}

/// Bytes a second, as measured on two cores (`scripts/benchmarks/imgpush`, "% new, warm engine").
mod speed {
    /// The engine compresses a layer, on one thread.
    pub(super) const ENGINE: f64 = 30e6;
    /// The engine exports an image, with all its layers; and most of that before the first byte.
    pub(super) const EXPORT: f64 = 135e6;
    /// This program compresses, on each core.
    pub(super) const HERE: f64 = 120e6;
}

/// Seconds that are not worth a second start.
const SECOND_START: f64 = 0.5;

/// Whether the engine takes longer for what it has left to send of each layer than this program would, which so many bytes
/// are exported for.
fn is_faster_here(sending: &[Sending], exported: u64, cores: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = |bytes: u64, speed: f64| bytes as f64 / speed;
    let left = |layer: &Sending| layer.total - layer.done;
    let all: u64 = sending.iter().map(left).sum();
    let largest = sending.iter().map(left).max().unwrap_or_default();
    let engine = seconds(largest.max(all / cores), speed::ENGINE);
    let here = seconds(exported, speed::EXPORT) + seconds(all / cores, speed::HERE);
    engine > here + SECOND_START
}

/// Whether a containerd store sends layers that are as large as they unpack to, which `docker load` leaves there: compressed
/// they are a third, for the registry and for everybody who pulls them. The store's size of an image is that of its
/// layers as they are stored and that of what they unpack to.
fn is_uncompressed(sending: &[Sending], image_size: u64) -> bool {
    let all: u64 = sending.iter().map(|layer| layer.total).sum();
    all > image_size / 20 * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn sending(megabytes: &[u64]) -> Vec<Sending> {
        megabytes.iter().map(|size| Sending { total: size * MB, done: 0 }).collect()
    }

    #[test]
    fn the_engine_keeps_what_it_is_sooner_done_with() {
        let is_faster_here = |layers: &[u64], size: u64| is_faster_here(&sending(layers), size * MB, 2);
        // All of an image that a cold engine would compress, whatever its layers are.
        assert!(is_faster_here(&[780, 195, 16], 991));
        assert!(is_faster_here(&[200; 5], 1000));
        // A layer of a warm engine's image, unless it is a large part of it.
        assert!(!is_faster_here(&[10], 991));
        assert!(!is_faster_here(&[200], 991));
        assert!(is_faster_here(&[500], 991));
        // What is small is done before another way has begun.
        assert!(!is_faster_here(&[15], 15));
        // Where nothing need be exported.
        assert!(is_faster_here(&[50], 0));
        assert!(!is_faster_here(&[15], 0));
    }

    #[test]
    fn what_a_store_has_compressed_is_sent_as_it_is() {
        // As they came from a registry, or from a build.
        assert!(!is_uncompressed(&sending(&[260, 70]), 1320 * MB));
        assert!(is_uncompressed(&sending(&[780, 195, 16]), 1982 * MB));
        // One layer of many.
        assert!(!is_uncompressed(&sending(&[195]), 1982 * MB));
    }
}
