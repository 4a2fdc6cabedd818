//! What a signal does to a run that writes.

use step::{Cleanup, Failure, FailureKind, Interruption, Io, ResultExt as _};
use tokio::sync::oneshot;

/// A signal on which a run takes back what it has changed.
pub(super) struct Signal(Option<(oneshot::Receiver<()>, Interruption)>);

impl Signal {
    /// Where nothing is taken back none is waited for, and the first ends the run at once.
    pub(super) fn awaited(takes_back: bool, io: &Io) -> Result<Self, Failure> {
        if !takes_back {
            return Ok(Self(None));
        }
        let (tell, comes) = oneshot::channel();
        let console = io.console.clone();
        let interruption = Interruption::told(move || {
            console.note("interrupted: what was changed goes back; another signal ends the run at once");
            // A run that goes back already needs no telling.
            let _ = tell.send(());
        });
        let interruption = interruption.or_fail_with(FailureKind::Internal, || "can't watch for signals")?;
        Ok(Self(Some((comes, interruption))))
    }

    /// Ends when it has come.
    pub(super) async fn comes(&mut self) {
        if let Some((comes, _)) = &mut self.0
            && comes.await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// A signal ends the run at once: what the server was just asked for may be done or not.
pub(super) fn tell_of_an_interruption(io: &Io) -> Cleanup {
    let console = io.console.clone();
    Cleanup::new(move || {
        console
            .warn("interrupted while objects were written: some are, others are not; the next run goes on");
    })
}
