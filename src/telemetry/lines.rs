//! The log's lines on their way to standard error.
//!
//! A dedicated thread writes them. If it cannot keep up, lines are dropped and counted, so no request
//! waits for a stopped reader or a full disk. At exit it has a moment to write the queued lines; then
//! one line says how many were lost.

use std::fs::File;
use std::io::{self, BufWriter, Stderr, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum queued lines. Further ones are dropped.
const BUFFERED_LINES: usize = 8_192;
/// Maximum bytes of one write when lines come fast.
const BUFFER: usize = 16 << 10;
/// How long lines are collected after a write. Otherwise the thread would wake for nearly every line,
/// which costs requests more than the write itself.
const GATHER: Duration = Duration::from_millis(2);
/// How long the exit waits for a log that is stuck.
const STANDSTILL: Duration = Duration::from_secs(1);
/// How long the exit waits for a log that is slow.
const LONGEST: Duration = Duration::from_secs(5);
/// How long the last line may take.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Dropped lines, once there is a log.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that could not be written.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);
/// All lines, including dropped ones.
static LOGGED: AtomicUsize = AtomicUsize::new(0);
/// Lines that were written.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of lost lines.
pub(super) fn lost() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines).saturating_add(UNWRITTEN.load(Ordering::Relaxed))
}

/// Returns the number of queued lines.
fn waiting() -> usize {
    // The finished ones first: the total only grows in the meantime.
    let left = lost().saturating_add(WRITTEN.load(Ordering::Acquire));
    LOGGED.load(Ordering::Relaxed).saturating_sub(left)
}

/// Starts the thread.
pub(super) fn start() -> (Logged, Guard) {
    let lines = Lines { out: BufWriter::with_capacity(BUFFER, io::stderr()), buffered: 0 };
    let (writer, worker) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).finish(lines);
    let _ = DROPPED.set(writer.error_counter());
    (Logged(writer), Guard { _worker: ManuallyDrop::new(worker) })
}

/// Passes lines to the thread one at a time, and counts them.
#[derive(Clone)]
pub(super) struct Logged(NonBlocking);

impl Write for Logged {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOGGED.fetch_add(1, Ordering::Relaxed);
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Standard error, buffered: flushed when no line is queued. On a full disk, lines are lost and
/// counted.
struct Lines<W: Write = Stderr> {
    out: BufWriter<W>,
    /// Lines in the buffer.
    buffered: usize,
}

impl<W: Write> Lines<W> {
    fn all_written(&mut self) {
        WRITTEN.fetch_add(std::mem::take(&mut self.buffered), Ordering::Release);
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before = self.out.buffer().len();
        if self.out.write_all(line).is_err() {
            UNWRITTEN.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        // If the line did not fit, the buffer was written first.
        let after = self.out.buffer().len();
        if after < before + line.len() {
            self.all_written();
            // With thousands of lines queued, requests would otherwise wait for this thread's whole time slice.
            thread::yield_now();
        }
        self.buffered += 1;
        if after == 0 {
            self.all_written();
        }
        Ok(line.len())
    }

    #[expect(clippy::disallowed_methods, reason = "this thread only writes, and nobody waits for it")]
    fn flush(&mut self) -> io::Result<()> {
        // What could not be written stays in the buffer for the next attempt.
        if self.out.flush().is_ok() {
            self.all_written();
        }
        thread::sleep(GATHER);
        Ok(())
    }
}

/// Keeps the log going. When dropped, it waits briefly until all lines are written, and reports how
/// many were not. It cannot know how much of the last buffer got through.
#[derive(Debug)]
pub(super) struct Guard {
    /// Its own exit is never awaited: it may print, and standard output may be stuck.
    _worker: ManuallyDrop<WorkerGuard>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let waiting = written();
        if waiting > 0 {
            let word = format!(
                "lingpai: up to {waiting} lines of the log were lost: standard error took no more at the end\n"
            );
            // Part of the last line may already be there.
            if !said(&io::stderr(), format!("\n{word}")) {
                said(&io::stdout(), word);
            }
        }
    }
}

/// Waits until all lines are written or time is up. Returns the number of unwritten lines.
#[expect(clippy::disallowed_methods, reason = "the process ends, and nothing else is left to do")]
fn written() -> usize {
    let begun = Instant::now();
    let (mut seen, mut since) = (WRITTEN.load(Ordering::Relaxed), begun);
    loop {
        let (waiting, written) = (waiting(), WRITTEN.load(Ordering::Relaxed));
        if written != seen {
            (seen, since) = (written, Instant::now());
        }
        if waiting == 0 || since.elapsed() > STANDSTILL || begun.elapsed() > LONGEST {
            return waiting;
        }
        thread::sleep(GATHER);
    }
}

/// Whether `word` could be written to `to`. It bypasses the standard library's lock, which the writing
/// thread may hold, and uses a separate thread, which ends with the process.
fn said(to: &impl AsFd, word: String) -> bool {
    let Ok(to) = to.as_fd().try_clone_to_owned() else { return false };
    let (tell, told) = mpsc::channel();
    let saying = move || {
        let _ = tell.send(File::from(to).write_all(word.as_bytes()).is_ok());
    };
    let begun = thread::Builder::new().spawn(saying);
    begun.is_ok() && told.recv_timeout(LAST_WORD) == Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes; then the disk is full.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The only test in this process that touches the counters.
    #[test]
    fn lines_are_counted_when_they_have_left() {
        let counts = || (WRITTEN.load(Ordering::Relaxed), UNWRITTEN.load(Ordering::Relaxed));
        let (written, unwritten) = counts();
        let now = || {
            let (later, lost) = counts();
            (later - written, lost - unwritten)
        };
        let mut lines = Lines { out: BufWriter::with_capacity(10, Disk(26)), buffered: 0 };
        lines.write_all(b"1234\n").unwrap();
        assert_eq!(now(), (0, 0));
        lines.flush().unwrap();
        assert_eq!(now(), (1, 0));
        // The third does not fit beside these two.
        for line in [b"12\n", b"34\n", b"56\n"] {
            lines.write_all(line).unwrap();
        }
        assert_eq!(now(), (1, 0));
        lines.write_all(b"78\n").unwrap();
        assert_eq!(now(), (4, 0));
        // One that is longer than the buffer would be written at once, after what is in it; but the disk is full.
        lines.write_all(b"123456789\n").unwrap();
        lines.flush().unwrap();
        assert_eq!(now(), (5, 1));
    }
}
