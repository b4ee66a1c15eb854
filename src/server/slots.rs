//! Slots for connections, and which connection is closed when none is free.
//!
//! When all slots are taken, the first of these connections is closed:
//! - the longest idle one among callers with more connections than the new one's caller; its client
//!   can open another;
//! - one of the caller with the most, if that has more than twice as many: one without any request yet,
//!   otherwise one that closes after its answer;
//! - the longest idle one among callers with as many, and the caller's own;
//! - the caller's own oldest one without any request yet.
//!
//! If none can be closed, a new connection waits if its caller has no other, and no caller waits behind one with many
//! connections.
//!
//! Each look for room goes through all. So after one there is a pause, in which new connections are closed without
//! a look: those of callers with many connections, and if there was nothing to close, of callers with as many as the one
//! that looked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::open::Open;
use super::shares::Caller;

/// How long to wait for a closing connection's slot before closing another one.
const AGAIN: Duration = Duration::from_millis(20);
/// More than one in this many slots is many for one caller.
const MANY: u32 = 8;
/// The pause after a look, as a multiple of what the look took.
const LOOKS_PAUSE: u32 = 9;

/// When a caller gets no look.
#[derive(Debug, Default)]
struct Pause {
    /// Its end, since the slots' beginning.
    until: Duration,
    /// For callers with at least as many connections.
    from: u32,
}

/// The open connections of each caller, by number.
#[derive(Debug, Default)]
struct Connections(HashMap<Option<Caller>, HashMap<u64, Arc<Open>>>);

/// The slots of one transport.
#[derive(Debug)]
pub(super) struct Slots {
    room: Arc<Semaphore>,
    total: u32,
    /// Maximum connections of one caller.
    of_one: Option<u32>,
    open: Mutex<Connections>,
    next: AtomicU64,
    /// Idle times are counted from here.
    begun: Instant,
    pause: Mutex<Pause>,
}

impl Slots {
    pub(super) fn new(connections: u32, of_one: Option<u32>) -> Arc<Self> {
        let room = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            room: Arc::new(Semaphore::new(room)),
            total: connections,
            of_one,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            begun: Instant::now(),
            pause: Mutex::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Connections> {
        // Nothing in here panics halfway.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a connection to close for a caller that `has` this many, unless it has to pause. Returns whether one closes.
    fn look(&self, has: u32, find: impl FnOnce() -> bool) -> bool {
        let begun = self.begun.elapsed();
        let is_paused = |pause: &Pause| begun < pause.until;
        if is_paused(&self.pause()) && has >= self.pause().from {
            return false;
        }
        let found = find();
        let ended = self.begun.elapsed();
        let mut pause = self.pause();
        let from = if found || has == 0 { self.total / MANY + 1 } else { has };
        pause.from = if is_paused(&pause) { pause.from.min(from) } else { from };
        pause.until = pause.until.max(ended + LOOKS_PAUSE * ended.saturating_sub(begun));
        found
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for a connection of `caller`; None if there is none and the caller has other
    /// connections.
    pub(super) async fn room(&self, caller: Option<Caller>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        loop {
            let has = self.open().count(caller);
            let leaves = self.look(has, || self.open().make_room(caller));
            if !leaves && has > self.total / MANY {
                return None;
            }
            // If no connection could be closed, one may have become idle since.
            match tokio::time::timeout(AGAIN, Arc::clone(&self.room).acquire_owned()).await {
                Ok(permit) => return permit.ok(),
                Err(_) if has > 0 && !leaves => return None,
                Err(_) => {}
            }
        }
    }

    /// Takes a slot for a connection of `caller`; None if the caller has its maximum.
    pub(super) fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit, caller: Option<Caller>) -> Option<Slot> {
        let mut connections = self.open();
        let is_over = caller.is_some() && self.of_one.is_some_and(|most| connections.count(caller) >= most);
        // The caller's own idle connection makes room for its new one.
        if is_over && !end_longest_idle(connections.of(caller)) {
            return None;
        }
        let open = Arc::new(Open::new(self.begun, caller));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        connections.0.entry(caller).or_default().insert(number, Arc::clone(&open));
        drop(connections);
        Some(Slot { slots: Arc::clone(self), number, open, _permit: permit })
    }
}

impl Connections {
    fn remove(&mut self, caller: Option<Caller>, number: u64) {
        if let Entry::Occupied(mut own) = self.0.entry(caller) {
            own.get_mut().remove(&number);
            if own.get().is_empty() {
                own.remove();
            }
        }
    }

    /// Returns how many `caller` has. Those without one count as if each were alone.
    fn count(&self, caller: Option<Caller>) -> u32 {
        let own = caller.and_then(|_| self.0.get(&caller)).map_or(0, HashMap::len);
        u32::try_from(own).unwrap_or(u32::MAX)
    }

    fn of(&self, caller: Option<Caller>) -> impl Iterator<Item = &Arc<Open>> {
        self.0.get(&caller).into_iter().flat_map(HashMap::values)
    }

    /// Returns each caller, the number of its connections, and the connections.
    fn callers(&self) -> impl Iterator<Item = (Option<Caller>, u32, impl Iterator<Item = &Arc<Open>>)> {
        self.0.iter().map(|(caller, own)| (*caller, self.count(*caller), own.values()))
    }

    /// Returns the connections of the callers that `these` selects, given a caller and how many it has.
    fn of_those(&self, these: impl Fn(Option<Caller>, u32) -> bool) -> impl Iterator<Item = &Arc<Open>> {
        self.callers().filter(move |(caller, count, _)| these(*caller, *count)).flat_map(|(_, _, own)| own)
    }

    /// Closes a connection to make room for one of `newcomer`, if there is one to close.
    fn make_room(&self, newcomer: Option<Caller>) -> bool {
        let has = self.count(newcomer);
        end_longest_idle(self.of_those(|of, count| of.is_none() || count > has))
            || self.end_greedy(has)
            || end_longest_idle(self.of_those(|of, count| of == newcomer || count == has))
            || self.end_own_silent(newcomer)
    }

    /// Closes a connection of the caller with the most, if that has more than twice as many as a caller that `has` this
    /// many and opens another.
    fn end_greedy(&self, has: u32) -> bool {
        let greedy = self.callers().filter(|(_, count, _)| *count > 2 * (has + 1));
        let theirs = greedy.flat_map(|(_, count, own)| own.map(move |one| (count, one)));
        let theirs = theirs.filter(|(_, one)| !one.is_unwanted());
        end(theirs.max_by_key(|(count, one)| (*count, one.is_silent())).map(|(_, one)| one))
    }

    /// Closes the oldest connection of `caller` without any request yet.
    fn end_own_silent(&self, caller: Option<Caller>) -> bool {
        let own = caller.and_then(|_| self.0.get(&caller)).into_iter().flatten();
        let silent = own.filter(|(_, one)| one.is_silent() && !one.is_unwanted());
        end(silent.min_by_key(|(number, _)| **number).map(|(_, one)| one))
    }
}

/// Closes the longest idle one of these connections.
fn end_longest_idle<'a>(these: impl Iterator<Item = &'a Arc<Open>>) -> bool {
    let idle = these.filter(|one| !one.is_unwanted());
    let idle = idle.filter_map(|one| one.idle_since().map(|since| (since, one)));
    end(idle.min_by_key(|(since, _)| *since).map(|(_, one)| one))
}

fn end(connection: Option<&Arc<Open>>) -> bool {
    connection.inspect(|one| one.end()).is_some()
}

/// The slot of an open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    pub(super) open: Arc<Open>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open().remove(self.open.caller, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a slot may have no caller")]
    fn caller(number: u8) -> Option<Caller> {
        Some(Caller::at(Some(IpAddr::from([10, 0, 0, number]))))
    }

    fn entered(slots: &Arc<Slots>, number: u8) -> Option<Slot> {
        let permit = Arc::clone(&slots.room).try_acquire_owned().unwrap();
        slots.enter(permit, caller(number))
    }

    async fn idle(slots: &Arc<Slots>, number: u8) -> Slot {
        let slot = entered(slots, number).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(slot.open.one());
        slot
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_leaves_and_not_for_a_richer_one() {
        let slots = Slots::new(4, None);
        let all = [idle(&slots, 1).await, idle(&slots, 2).await, idle(&slots, 2).await, idle(&slots, 2).await];
        let unwanted = || all.iter().map(|slot| slot.open.is_unwanted()).collect::<Vec<_>>();
        slots.open().make_room(caller(2));
        assert_eq!(unwanted(), [false, true, false, false]);
        slots.open().make_room(caller(3));
        assert_eq!(unwanted(), [true, true, false, false]);
        all[2].open.mark_busy();
        slots.open().make_room(None);
        assert_eq!(unwanted(), [true, true, false, true]);
        slots.open().make_room(None);
        assert_eq!(unwanted(), [true, true, true, true]);
    }

    /// A crowd of others does not cost a caller the connection that it keeps.
    #[tokio::test(start_paused = true)]
    async fn the_greedy_leaves_before_ones_own_that_is_idle() {
        let slots = Slots::new(7, None);
        let own = idle(&slots, 2).await;
        let crowd = [(); 6].map(|()| entered(&slots, 1).unwrap());
        assert!(slots.open().make_room(caller(2)));
        assert!(!own.open.is_unwanted() && crowd.iter().filter(|slot| slot.open.is_unwanted()).count() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_is_idle_the_greedy_leaves() {
        let slots = Slots::new(4, None);
        let all = [(); 4].map(|()| entered(&slots, 1).unwrap());
        let unwanted = || all.each_ref().map(|slot| slot.open.is_unwanted());
        all[0].open.mark_busy();
        assert!(slots.open().make_room(caller(2)));
        assert!(!unwanted()[0]);
        assert_eq!(unwanted().iter().filter(|is| **is).count(), 1);
        drop(all);
        assert!(slots.open().0.is_empty() && slots.room.available_permits() == 4);
    }

    /// Whoever has many does not wait in front of others.
    #[tokio::test(start_paused = true)]
    async fn a_crowd_makes_room_for_its_own() {
        let slots = Slots::new(3, None);
        let all = [(); 3].map(|()| entered(&slots, 1).unwrap());
        let unwanted = || all.each_ref().map(|slot| slot.open.is_unwanted());
        all[0].open.mark_busy();
        assert!(slots.open().make_room(caller(1)));
        assert_eq!(unwanted(), [false, true, false]);
        assert!(slots.open().make_room(caller(1)));
        assert_eq!(unwanted(), [false, true, true]);
        assert!(slots.room(caller(1)).now_or_never().unwrap().is_none());
        assert!(slots.room(caller(2)).now_or_never().is_none());
    }

    /// A caller with many connections gets fewer looks than it opens connections; others get theirs at once.
    #[tokio::test(start_paused = true)]
    async fn looks_for_a_crowd_take_a_share_of_the_time() {
        let slots = Slots::new(3, None);
        let all = [(); 3].map(|()| entered(&slots, 1).unwrap());
        let unwanted = || all.iter().filter(|slot| slot.open.is_unwanted()).count();
        // One that takes no time is followed by no pause.
        assert!(slots.look(3, || slots.open().make_room(caller(1))));
        assert_eq!(unwanted(), 1);
        let takes_time = |found| {
            assert!(tokio::time::advance(Duration::from_millis(10)).now_or_never().is_none());
            found
        };
        assert!(slots.look(3, || takes_time(true)));
        for _ in 0..2 {
            assert!(slots.room(caller(1)).now_or_never().unwrap().is_none());
        }
        assert_eq!(unwanted(), 1);
        assert!(slots.room(caller(2)).now_or_never().is_none());
        assert_eq!(unwanted(), 2);
        assert!(slots.room(caller(1)).now_or_never().unwrap().is_none());
        assert_eq!(unwanted(), 2);
        tokio::time::advance(Duration::from_millis(10) * LOOKS_PAUSE).await;
        assert!(slots.room(caller(1)).now_or_never().is_none());
        assert_eq!(unwanted(), 3);
    }

    /// Where nothing could be closed for a caller, nothing can be for one with as many.
    #[tokio::test(start_paused = true)]
    async fn a_look_in_vain_is_not_repeated_at_once() {
        let slots = Slots::new(80, None);
        let looks = |has, found| {
            let looked = std::cell::Cell::new(false);
            slots.look(has, || {
                assert!(tokio::time::advance(Duration::from_millis(1)).now_or_never().is_none());
                looked.set(true);
                found
            });
            looked.get()
        };
        assert!(looks(5, true) && looks(5, false));
        assert!(!looks(5, false) && !looks(6, false));
        assert!(looks(4, true) && looks(0, false));
        assert!(!looks(5, true));
        tokio::time::advance(Duration::from_millis(1) * LOOKS_PAUSE).await;
        assert!(looks(5, true));
        assert!(!looks(11, true));
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_has_so_many() {
        let slots = Slots::new(9, Some(2));
        let [first, second] = [idle(&slots, 1).await, idle(&slots, 1).await];
        assert!(entered(&slots, 2).is_some());
        // Also in a pause of looks, which others may have caused.
        slots.look(0, || tokio::time::advance(Duration::from_secs(1)).now_or_never().is_some());
        assert!(entered(&slots, 1).is_some());
        assert!(first.open.is_unwanted() && !second.open.is_unwanted());
        second.open.mark_busy();
        assert!(entered(&slots, 1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_room_of_who_becomes_idle() {
        let slots = Slots::new(1, None);
        let slot = entered(&slots, 1).unwrap();
        let asked = slot.open.one();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.room(caller(2)).await.is_some() }
        });
        tokio::time::sleep(AGAIN * 3).await;
        assert!(!slot.open.is_unwanted());
        drop(asked);
        tokio::time::sleep(AGAIN * 3).await;
        assert!(slot.open.is_unwanted());
        drop(slot);
        assert!(waiting.await.unwrap());
    }
}
