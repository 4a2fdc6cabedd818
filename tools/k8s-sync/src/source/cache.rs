//! What is kept of fetched repositories: a pack for each commit that was fetched, complete by itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// So many of the newest packs are kept.
const KEPT: usize = 8;
/// A pack that is younger may be another run's.
const YOUNG: Duration = Duration::from_mins(10);

/// Deletes the packs of commits that were fetched long ago; an operator would fill its disk with them.
pub(super) fn make_room(repository: &Path) {
    let Some(limit) = SystemTime::now().checked_sub(YOUNG) else { return };
    let mut packs: Vec<(SystemTime, PathBuf)> = packs(repository).collect();
    packs.sort();
    packs.truncate(packs.len().saturating_sub(KEPT));
    for (_, pack) in packs.into_iter().filter(|(written, _)| *written < limit) {
        delete(&pack);
    }
}

/// Deletes all packs.
pub(super) fn clear(repository: &Path) {
    packs(repository).for_each(|(_, pack)| delete(&pack));
}

fn packs(repository: &Path) -> impl Iterator<Item = (SystemTime, PathBuf)> {
    let folder = std::fs::read_dir(repository.join("objects/pack"));
    folder.into_iter().flatten().filter_map(Result::ok).filter_map(|entry| {
        let path = entry.path();
        let is_pack = path.extension().is_some_and(|ending| ending == "pack");
        Some((entry.metadata().ok()?.modified().ok()?, path)).filter(|_| is_pack)
    })
}

/// The index first: without it nobody looks for the pack. What can't be deleted now is deleted later.
fn delete(pack: &Path) {
    let _ = std::fs::remove_file(pack.with_extension("idx"));
    let _ = std::fs::remove_file(pack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_young_packs_are_kept() {
        let repository = tempfile::tempdir().unwrap();
        let folder = repository.path().join("objects/pack");
        std::fs::create_dir_all(&folder).unwrap();
        for age in 0..20_u32 {
            for ending in ["pack", "idx"] {
                let file = std::fs::File::create(folder.join(format!("pack-{age:02}.{ending}"))).unwrap();
                file.set_modified(SystemTime::now() - YOUNG / 10 * age).unwrap();
            }
        }
        make_room(repository.path());
        let mut kept: Vec<String> = packs(repository.path())
            .map(|(_, pack)| pack.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        kept.sort();
        assert_eq!(kept, (0..10).map(|age| format!("pack-{age:02}")).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 20);
        clear(repository.path());
        assert_eq!(packs(repository.path()).count(), 0);
    }
}
