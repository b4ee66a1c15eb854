//! Counts the signature checks of this thread, for tests that compare costs without a clock.

use std::cell::Cell;

thread_local! {
    static CHECKED: Cell<usize> = const { Cell::new(0) };
}

/// Counts one check.
pub(crate) fn count() {
    CHECKED.set(CHECKED.get() + 1);
}

/// Returns the result of `work` and how many signatures it checked on this thread.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = CHECKED.get();
    let made = work();
    (made, CHECKED.get() - before)
}
