//! Parts of the service that are loaded from files independently: a problem with
//! one is reported for that one, and does not hold back the others.

use super::error::StartError;
use super::sight::{self, Content, Pace, Sight};
use crate::clock::Timestamp;
use crate::service::State;

/// How long a change that looks incomplete is held back, in seconds. A file that is still being written after that
/// long is refused.
pub(super) const HOLD: i64 = 60;

/// Something that is loaded from files and applied. If the files are refused, the old state stays in force.
pub(super) trait Part {
    /// What was read.
    type Read;
    /// What was loaded, ready to be applied.
    type Ready;
    /// What the log, the operator's page and the metrics call it; one of
    /// [`RELOAD_PARTS`](crate::telemetry::RELOAD_PARTS).
    const NAME: &'static str;

    /// Reads the files without parsing them.
    fn read(&self) -> Result<Self::Read, StartError>;
    /// Returns each file that was read.
    fn files(&self, read: &Self::Read) -> Vec<Content>;
    /// Returns the digest of the files that the current state was loaded from.
    fn in_force(&self) -> [u8; 32];
    /// Whether a reload is due although the files have not changed.
    fn is_due(&self, now: Timestamp) -> bool;
    /// Parses and checks.
    fn load(&mut self, read: Self::Read, now: Timestamp) -> Result<Self::Ready, StartError>;
    /// Returns why this looks like an incomplete change, if it does: it is then held back until it has been
    /// unchanged for a minute.
    fn doubt(&self, _: &Self::Ready) -> Option<String> {
        None
    }
    /// Applies it.
    fn put(&mut self, ready: Self::Ready);
}

/// What a reloader does with each part, whatever its type.
pub(super) trait Watch {
    /// Looks at the files once, and loads them if they have changed. Returns whether they were applied.
    fn look(&mut self, pace: Pace, state: &State) -> bool;
    /// Refuses the files, because a look panicked.
    fn fail(&mut self, state: &State);
    /// What is refused, and why.
    fn refused(&self) -> Option<String>;
    /// What is not applied yet, and why.
    fn pending(&self) -> Option<String>;
    /// When the change that is held back will be applied.
    fn held_until(&self) -> Option<Timestamp>;
    /// Whether a file has new content that may be incomplete.
    fn is_unfinished(&self) -> bool;
}

/// A part, and what became of its files when they were looked at.
#[derive(Debug)]
pub(super) struct Watched<P> {
    pub(super) part: P,
    sight: Sight,
    /// What was refused last, so that it is logged once.
    refused: Option<Refused>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Refused {
    /// A digest of the files; None if they could not be read.
    files: Option<[u8; 32]>,
    why: String,
    /// Whether they may become valid as time passes.
    passing: bool,
}

impl Refused {
    /// Whether both are the same refusal: of the same files, even if the message names another time.
    fn is(&self, other: &Self) -> bool {
        self.files == other.files && (self.files.is_some() || self.why == other.why)
    }
}

/// What is not applied yet.
#[derive(Debug, PartialEq, Eq)]
enum Pending {
    /// This file may still be being written. Since this instant no look has found every file complete.
    Unfinished { file: sight::Unfinished, since: Timestamp, refusals: i64 },
    /// These files look like an incomplete change, first seen at this instant.
    Held { files: [u8; 32], since: Timestamp, why: String },
}

impl<P: Part> Watched<P> {
    /// Starts to watch `part`, with its current files as the last ones seen.
    pub(super) fn new(part: P, pace: Pace) -> Self {
        let mut watched = Self { part, sight: Sight::default(), refused: None, pending: None };
        if let Ok(read) = watched.part.read() {
            let files = watched.part.files(&read);
            watched.see(&files, pace);
            if sight::digest(&files) == watched.part.in_force() {
                watched.sight.trust();
            }
        }
        watched
    }

    fn see(&mut self, files: &[Content], pace: Pace) -> Option<sight::Unfinished> {
        let Self { part, sight, .. } = self;
        sight.look(files, pace, || part.read().ok().map(|read| part.files(&read)))
    }

    fn reload(&mut self, pace: Pace, state: &State) -> bool {
        if let Some(Pending::Held { since, .. } | Pending::Unfinished { since, .. }) = &mut self.pending {
            // If the clock is set back, the minute starts over instead of becoming a day.
            *since = (*since).min(pace.now);
        }
        let read = match self.part.read() {
            Ok(read) => read,
            Err(error) => {
                self.pending = None;
                return self.refuse(pace.asked, None, &error, state);
            }
        };
        let files = self.part.files(&read);
        let (seen, unfinished) = (sight::digest(&files), self.see(&files, pace));
        let changed = seen != self.part.in_force();
        if !changed && !pace.asked && !self.part.is_due(pace.now) {
            return self.accept("the files match what is in force again");
        }
        if let Some(unfinished) = unfinished.filter(|_| changed) {
            return self.wait(pace, unfinished, state);
        }
        let known = self.refused.as_ref().is_some_and(|refused| refused.files == Some(seen) && !refused.passing);
        if !pace.asked && known {
            self.pending = None;
            return false;
        }
        if !pace.asked && self.is_held(seen, pace.now) {
            return false;
        }
        let ready = match self.part.load(read, pace.now) {
            Ok(ready) => ready,
            Err(error) => {
                self.pending = None;
                return self.refuse(pace.asked, Some(seen), &error, state);
            }
        };
        if let Some(why) = self.part.doubt(&ready).filter(|_| !self.has_waited(seen, pace.now)) {
            return self.hold(pace, seen, why);
        }
        self.part.put(ready);
        self.accept("the problem with the files is fixed");
        true
    }

    /// Waits for a file that may still be being written. Nothing is applied meanwhile, so each full minute counts as a
    /// refusal.
    fn wait(&mut self, pace: Pace, file: sight::Unfinished, state: &State) -> bool {
        let (since, before) = match &self.pending {
            Some(Pending::Unfinished { since, refusals, .. }) => (*since, *refusals),
            _ => (pace.now, 0),
        };
        let waited = pace.now.since(since);
        let refusals = waited / HOLD;
        if refusals > 0 && (pace.asked || refusals > before) {
            let error = StartError::new(format!(
                "{}: is being written; for {waited} s no look has found every file complete, so no change is applied; write \
                 files beside and rename them into place",
                file.path.display()
            ));
            self.refuse(true, None, &error, state);
        } else if pace.asked {
            Self::say_that_it_waits(&file);
        }
        self.pending = Some(Pending::Unfinished { file, since, refusals });
        false
    }

    fn say_that_it_waits(unfinished: &sight::Unfinished) {
        let file = unfinished.path.display().to_string();
        if unfinished.gone {
            tracing::warn!(part = P::NAME, file, "reload waits: the file is gone, so it is looked for again first");
        } else {
            tracing::warn!(
                part = P::NAME,
                file,
                "reload waits: the file was written in place, so it is read again first; rename it into place to apply it \
                 at once"
            );
        }
    }

    fn accept(&mut self, mended: &str) -> bool {
        self.pending = None;
        if self.refused.take().is_some() {
            tracing::info!(part = P::NAME, "{mended}");
        }
        false
    }

    /// The same refusal of the same files is logged once.
    fn refuse(&mut self, asked: bool, files: Option<[u8; 32]>, error: &StartError, state: &State) -> bool {
        let refused = Refused { files, why: error.to_string(), passing: error.passing };
        if asked || !self.refused.as_ref().is_some_and(|before| before.is(&refused)) {
            let error = &refused.why;
            tracing::error!(part = P::NAME, error, "reload refused: the previous state stays in force");
            state.count_refused_reload(P::NAME);
        }
        self.refused = Some(refused);
        false
    }

    fn hold(&mut self, pace: Pace, files: [u8; 32], why: String) -> bool {
        self.refused = None;
        let since = match &self.pending {
            Some(Pending::Held { files: held, since, .. }) if *held == files => Some(*since),
            _ => None,
        };
        let held = Pending::Held { files, since: since.unwrap_or(pace.now), why };
        if pace.asked || since.is_none() {
            let warning = held.message();
            tracing::warn!(part = P::NAME, warning, "reloading");
        }
        self.pending = Some(held);
        false
    }

    /// Whether these files are held back for now.
    fn is_held(&self, files: [u8; 32], now: Timestamp) -> bool {
        let held = matches!(&self.pending, Some(Pending::Held { files: held, .. }) if *held == files);
        held && !self.has_waited(files, now)
    }

    /// Whether these files have been unchanged for long enough to be intended.
    fn has_waited(&self, files: [u8; 32], now: Timestamp) -> bool {
        match &self.pending {
            Some(Pending::Held { files: held, since, .. }) => *held == files && now.since(*since) >= HOLD,
            _ => false,
        }
    }
}

impl Pending {
    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Held { since, .. } => Some(since.plus(HOLD)),
            Self::Unfinished { .. } => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Unfinished { file: sight::Unfinished { path, gone: true, .. }, .. } => format!(
                "{}: is gone, which is applied only once two consecutive looks do not find it: some programs remove a file to \
                 write it anew",
                path.display()
            ),
            Self::Unfinished { file: sight::Unfinished { path, .. }, .. } => format!(
                "{}: was written in place, so it is applied only once two consecutive looks read the same; rename files \
                 into place to apply them at once",
                path.display()
            ),
            Self::Held { since, why, .. } => format!(
                "reload held back until {}, in case the change is incomplete: {why}; the previous state stays in force; if it \
                 is intended, wait, or restart to apply it now",
                since.plus(HOLD)
            ),
        }
    }
}

impl<P: Part> Watch for Watched<P> {
    fn look(&mut self, pace: Pace, state: &State) -> bool {
        self.reload(pace, state)
    }

    fn fail(&mut self, state: &State) {
        self.pending = None;
        self.refuse(true, None, &StartError::new("an internal error; the log says where"), state);
    }

    fn refused(&self) -> Option<String> {
        self.refused.as_ref().map(|refused| format!("{}: {}", P::NAME, refused.why))
    }

    fn pending(&self) -> Option<String> {
        self.pending.as_ref().map(|pending| format!("{}: {}", P::NAME, pending.message()))
    }

    fn held_until(&self) -> Option<Timestamp> {
        self.pending.as_ref().and_then(Pending::until)
    }

    fn is_unfinished(&self) -> bool {
        matches!(&self.pending, Some(Pending::Unfinished { file, .. }) if file.fresh)
    }
}
