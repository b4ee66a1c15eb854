//! A part of the service that is loaded from files by itself: what is wrong with
//! one is said of that one, and holds back no other.

use super::error::StartError;
use super::sight::{self, Content, Pace, Sight};
use crate::clock::Timestamp;
use crate::service::State;

/// How long a change that looks like half of one is held back, in seconds.
pub(super) const HOLD: i64 = 60;

/// What is loaded from files, put in force, and kept if what the files say is refused.
pub(super) trait Part {
    /// What was read.
    type Read;
    /// What was loaded, ready to be put in force.
    type Ready;
    /// What the log, the operator's page and the metrics call it; one of
    /// [`RELOAD_PARTS`](crate::telemetry::RELOAD_PARTS).
    const NAME: &'static str;

    /// Reads the files, parsing nothing.
    fn read(&self) -> Result<Self::Read, StartError>;
    /// Each file that was read.
    fn files(&self, read: &Self::Read) -> Vec<Content>;
    /// The digest of the files from which that was loaded which is in force.
    fn in_force(&self) -> [u8; 32];
    /// Whether time asks for a reload though the files have not changed.
    fn is_due(&self, now: Timestamp) -> bool;
    /// Parses and checks.
    fn load(&mut self, read: Self::Read, now: Timestamp) -> Result<Self::Ready, StartError>;
    /// Why this looks like half of a change, if it does: it is then held back until it has been the
    /// same for a minute.
    fn doubt(&self, _: &Self::Ready) -> Option<String> {
        None
    }
    /// Puts it in force.
    fn put(&mut self, ready: Self::Ready);
}

/// What a reloader does with each part, whatever it is made of.
pub(super) trait Watch {
    /// Looks at the files once, and loads them if they have changed. Whether that was put in force.
    fn look(&mut self, pace: Pace, state: &State) -> bool;
    /// Refuses whatever the files say, because a look has panicked.
    fn fail(&mut self, state: &State);
    /// What is refused, and why.
    fn refused(&self) -> Option<String>;
    /// What is not applied yet, and why.
    fn pending(&self) -> Option<String>;
    /// When that which is held back will be applied.
    fn held_until(&self) -> Option<Timestamp>;
    /// Whether a file has a content that was never seen before and is perhaps not whole.
    fn is_unfinished(&self) -> bool;
}

/// A part, and what became of its files when they were looked at.
#[derive(Debug)]
pub(super) struct Watched<P> {
    pub(super) part: P,
    sight: Sight,
    /// What was refused last: it is said once.
    refused: Option<Refused>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Refused {
    /// The files; None if they could not be read.
    files: Option<[u8; 32]>,
    why: String,
    /// Whether they may become good as time goes by.
    passing: bool,
}

impl Refused {
    /// Whether both are one refusal: of the same files, whatever is said of the time.
    fn is(&self, other: &Self) -> bool {
        self.files == other.files && (self.files.is_some() || self.why == other.why)
    }
}

/// What is not applied yet.
#[derive(Debug, PartialEq, Eq)]
enum Pending {
    /// This file is perhaps still being written.
    Unfinished(sight::Unfinished),
    /// These files look like half of a change, since then.
    Held { files: [u8; 32], since: Timestamp, why: String },
}

impl<P: Part> Watched<P> {
    /// Begins to watch `part`, with what its files are now as what was seen last.
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
        if let Some(Pending::Held { since, .. }) = &mut self.pending {
            // A clock that is put back begins the minute anew, and does not make it a day.
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
            return self.accept("the files are again what is in force");
        }
        if let Some(unfinished) = unfinished.filter(|_| changed) {
            if pace.asked {
                Self::say_that_it_waits(&unfinished);
            }
            self.pending = Some(Pending::Unfinished(unfinished));
            return false;
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
        self.accept("what was wrong with the files is mended");
        true
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

    /// The same refusal of the same files is said once.
    fn refuse(&mut self, asked: bool, files: Option<[u8; 32]>, error: &StartError, state: &State) -> bool {
        let refused = Refused { files, why: error.to_string(), passing: error.passing };
        if asked || !self.refused.as_ref().is_some_and(|before| before.is(&refused)) {
            let error = &refused.why;
            tracing::error!(part = P::NAME, error, "reload refused: what was loaded before stays in force");
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

    /// Whether these files are held back, and have to wait.
    fn is_held(&self, files: [u8; 32], now: Timestamp) -> bool {
        let held = matches!(&self.pending, Some(Pending::Held { files: held, .. }) if *held == files);
        held && !self.has_waited(files, now)
    }

    /// Whether these files have been the same for so long that they are meant.
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
            Self::Unfinished(_) => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Unfinished(sight::Unfinished { path, gone: true, .. }) => format!(
                "{}: is gone, which is not applied before two looks in a row do not find it: some programs remove a file to \
                 write it anew",
                path.display()
            ),
            Self::Unfinished(sight::Unfinished { path, .. }) => format!(
                "{}: was written in place and is not applied before two looks in a row read the same; rename files into \
                 place to apply them at once",
                path.display()
            ),
            Self::Held { since, why, .. } => format!(
                "reload held back until {}, in case the rest of the change is still to come: {why}; what was loaded before \
                 stays in force; if it is meant, wait, or restart to apply it now",
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
        matches!(&self.pending, Some(Pending::Unfinished(unfinished)) if unfinished.fresh)
    }
}
