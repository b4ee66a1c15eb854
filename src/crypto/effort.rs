//! Counts the signatures that this thread has checked, for tests that compare costs without a clock.

use std::cell::Cell;

thread_local! {
    static CHECKED: Cell<usize> = const { Cell::new(0) };
}

/// One more.
pub(crate) fn count() {
    CHECKED.set(CHECKED.get() + 1);
}

/// How many signatures `work` checks on this thread.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = CHECKED.get();
    let made = work();
    (made, CHECKED.get() - before)
}
