//! Replay detection for proofs (RFC 9449 §11.1): each replica accepts a proof once.
//!
//! An entry is the digest of a client, a key and a `jti`. It is kept until the proof itself has
//! expired, and is never evicted. So room must be shared: every client has a small part of the
//! table that no other can take, and beyond it draws on a common half, up to [`SHARE`]. A client
//! that needs more waits; the others are unaffected.
//!
//! At most [`ROOM`] entries take at most 36 MiB: 16 bytes each in a set that is at most twice as
//! large, and 24 bytes in the list of the second in which they expire, which may be half empty.
//! Once the entries of a flood have expired, the table gives its memory back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::crypto::Digester;
use crate::token::{ClientId, Thumbprint};

/// Maximum unexpired proofs per client.
const SHARE: usize = 100_000;
/// Maximum unexpired proofs in all.
const ROOM: usize = 7 << 16;
/// Maximum expired entries dropped with each new one, so that an ordinary request does not pay for a flood.
const DROPPED: usize = 64;
/// A set with less capacity than this is not shrunk.
const SMALL: usize = 1 << 12;

/// 128 bits of a SHA-256.
type Digest = [u8; 16];
/// A hash of a client's id.
type Owner = u64;

/// Why a proof is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unentered {
    /// The proof has expired since it was verified: that it was used before may be forgotten.
    Expired,
    /// The proof was used before.
    Replayed,
    /// The client has no room for another proof until this time has passed.
    Full(Duration),
}

/// The proofs that were used and have not expired.
#[derive(Default)]
pub struct ReplayTable {
    seen: Mutex<Seen>,
    owners: RandomState,
}

impl std::fmt::Debug for ReplayTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayTable").finish_non_exhaustive()
    }
}

impl ReplayTable {
    /// Records a proof of one of `clients` clients, in one step: of two equal proofs at the same
    /// time, one is refused. The `clock` is read once no other proof can drop entries.
    ///
    /// # Errors
    /// See [`Unentered`].
    pub fn enter(
        &self,
        client: &ClientId,
        clients: usize,
        proof: Entry<'_>,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<(), Unentered> {
        let digest = proof.digest(client);
        let owner = self.owners.hash_one(client);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock();
        if now >= proof.ends {
            return Err(Unentered::Expired);
        }
        seen.drop_expired(now, DROPPED);
        if seen.digests.contains(&digest) || !seen.has_room(owner, clients) {
            // Expired entries that were not dropped yet may take up the room.
            seen.drop_expired(now, usize::MAX);
        }
        if seen.digests.contains(&digest) {
            return Err(Unentered::Replayed);
        }
        if !seen.has_room(owner, clients) {
            return Err(Unentered::Full(seen.until_next(now)));
        }
        seen.enter(owner, digest, proof.ends);
        Ok(())
    }
}

/// A proof's identity in the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'p> {
    /// The key that signed it.
    pub thumbprint: &'p Thumbprint,
    /// Its `jti`.
    pub id: &'p str,
    /// The first second at which it is no longer accepted.
    pub ends: Timestamp,
}

impl Entry<'_> {
    fn digest(&self, client: &ClientId) -> Digest {
        let mut digester = Digester::default();
        for part in [client.as_str().as_bytes(), self.thumbprint.bytes(), self.id.as_bytes()] {
            digester.add(part);
        }
        #[expect(clippy::expect_used, reason = "a digest has 32 bytes")]
        *digester.finish().first_chunk().expect("a shorter digest")
    }
}

#[derive(Default)]
struct Seen {
    digests: HashSet<Digest>,
    /// Entries per client.
    counts: HashMap<Owner, usize>,
    /// Entries by the second in which they expire.
    ending: BTreeMap<Timestamp, Vec<(Digest, Owner)>>,
}

impl Seen {
    /// Whether a client has room for one more, in its own part or the common half.
    fn has_room(&self, owner: Owner, clients: usize) -> bool {
        let used = self.counts.get(&owner).copied().unwrap_or_default();
        let own = ROOM / 2 / clients.max(1);
        let all = self.digests.len();
        used < SHARE && all < ROOM && (used < own || all < ROOM / 2)
    }

    fn enter(&mut self, owner: Owner, digest: Digest, ends: Timestamp) {
        *self.counts.entry(owner).or_default() += 1;
        self.ending.entry(ends).or_default().push((digest, owner));
        self.digests.insert(digest);
    }

    /// Returns the time until an entry expires, at least one second.
    fn until_next(&self, now: Timestamp) -> Duration {
        let seconds = self.ending.keys().next().map_or(1, |first| first.since(now));
        Duration::from_secs(seconds.max(1).unsigned_abs())
    }

    /// Drops up to `most` entries that have expired at `now`.
    fn drop_expired(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some(mut first) = self.ending.first_entry().filter(|first| *first.key() <= now) else { break };
            let Some((digest, owner)) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.digests.remove(&digest);
            self.forget_one_of(owner);
        }
        if self.digests.capacity() > SMALL && self.digests.len() < self.digests.capacity() / 8 {
            self.digests.shrink_to(SMALL);
        }
    }

    fn forget_one_of(&mut self, owner: Owner) {
        let left = self.counts.get(&owner).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            self.counts.remove(&owner)
        } else {
            self.counts.insert(owner, left)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Thumbprint = Thumbprint::new([7; 32]);

    fn client(name: &str) -> ClientId {
        ClientId::parse(name).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix(second)
    }

    /// Records `id` at second `now`, to expire at `ends`.
    fn enter(table: &ReplayTable, name: &str, id: &str, (now, ends): (i64, i64)) -> Result<(), Unentered> {
        table.enter(&client(name), 10, Entry { thumbprint: &KEY, id, ends: at(ends) }, || at(now))
    }

    fn fill(table: &ReplayTable, name: &str, count: usize, times: (i64, i64)) {
        let id = client(name);
        for number in 0..count {
            let entry = Entry { thumbprint: &KEY, id: &number.to_string(), ends: at(times.1) };
            table.enter(&id, 10, entry, || at(times.0)).unwrap_or_else(|why| panic!("{name} {number}: {why:?}"));
        }
    }

    fn len(table: &ReplayTable) -> usize {
        table.seen.lock().unwrap().digests.len()
    }

    #[test]
    fn a_proof_is_good_once_for_each_client_and_key() {
        let table = ReplayTable::default();
        assert_eq!(enter(&table, "a", "1", (100, 161)), Ok(()));
        assert_eq!(enter(&table, "a", "1", (100, 161)), Err(Unentered::Replayed));
        // So is a later proof with the same id while the first one counts.
        assert_eq!(enter(&table, "a", "1", (160, 221)), Err(Unentered::Replayed));
        assert_eq!(enter(&table, "b", "1", (100, 161)), Ok(()));
        assert_eq!(enter(&table, "a", "2", (100, 161)), Ok(()));
        let other = Thumbprint::new([8; 32]);
        let proof = Entry { thumbprint: &other, id: "1", ends: at(161) };
        assert_eq!(table.enter(&client("a"), 10, proof, || at(100)), Ok(()));
        assert_eq!(enter(&table, "a", "1", (161, 222)), Ok(()));
        // The boundary between client and id matters.
        assert_eq!(enter(&table, "ab", "c", (200, 261)), Ok(()));
        assert_eq!(enter(&table, "a", "bc", (200, 261)), Ok(()));
        // Verified in its last second, and too late.
        assert_eq!(enter(&table, "a", "3", (260, 260)), Err(Unentered::Expired));
    }

    #[test]
    fn who_fills_its_share_waits_and_others_do_not() {
        let table = ReplayTable::default();
        fill(&table, "flood", SHARE, (100, 161));
        assert_eq!(enter(&table, "flood", "more", (130, 191)), Err(Unentered::Full(Duration::from_secs(31))));
        assert_eq!(enter(&table, "flood", "7", (130, 191)), Err(Unentered::Replayed), "nothing was dropped");
        assert_eq!(enter(&table, "calm", "1", (130, 191)), Ok(()));
        // When its proofs have expired it has its share again.
        fill(&table, "flood", SHARE, (161, 222));
        assert_eq!(len(&table), SHARE + 1);
    }

    #[test]
    fn several_floods_leave_each_other_client_its_part() {
        let table = ReplayTable::default();
        let own = ROOM / 2 / 10;
        for name in ["f1", "f2"] {
            fill(&table, name, SHARE, (100, 161));
        }
        fill(&table, "f3", ROOM / 2 - 2 * SHARE, (100, 161));
        assert!(ROOM / 2 - 2 * SHARE > own);
        assert!(matches!(enter(&table, "f3", "more", (100, 161)), Err(Unentered::Full(_))));
        for name in ["c1", "c2", "c3", "c4", "c5", "c6", "c7"] {
            fill(&table, name, own, (100, 161));
            assert!(matches!(enter(&table, name, "more", (100, 161)), Err(Unentered::Full(_))), "{name}");
        }
        assert!(len(&table) <= ROOM);
    }

    /// What the table holds: a set has a byte more for each of its buckets, of which at most 7 of 8 are full.
    fn bytes(table: &ReplayTable) -> usize {
        let seen = table.seen.lock().unwrap();
        let buckets = (seen.digests.capacity() * 8 / 7).next_power_of_two();
        let listed: usize = seen.ending.values().map(Vec::capacity).sum();
        buckets * (size_of::<Digest>() + 1) + listed * size_of::<(Digest, Owner)>()
    }

    #[test]
    fn floods_take_no_more_memory_than_there_is_room() {
        let (table, mut entered) = (ReplayTable::default(), 0);
        for name in 0..10 {
            let client = client(&format!("flood{name}"));
            // They end in as many seconds as proofs can.
            let mut enter = |number: i64| {
                let entry = Entry { thumbprint: &KEY, id: &number.to_string(), ends: at(101 + number % 121) };
                table.enter(&client, 10, entry, || at(100))
            };
            let good = (0..200_000).take_while(|number| enter(*number).is_ok()).count();
            let full = (200_000..201_000).map(&mut enter).all(|said| matches!(said, Err(Unentered::Full(_))));
            assert!(full, "{name}");
            entered += good;
        }
        // Two have their shares, the third the rest of the common half, the others their own parts.
        assert_eq!(entered, ROOM / 2 + 7 * (ROOM / 2 / 10));
        assert_eq!(len(&table), entered);
        assert!(bytes(&table) < 36 << 20, "{}", bytes(&table));
    }

    #[test]
    fn memory_comes_back_after_a_flood() {
        let table = ReplayTable::default();
        fill(&table, "flood", SHARE, (100, 161));
        for number in 0..2 * SHARE / DROPPED {
            enter(&table, "calm", &number.to_string(), (161, 222)).unwrap();
        }
        let seen = table.seen.lock().unwrap();
        assert_eq!((seen.digests.len(), seen.counts.len(), seen.ending.len()), (2 * SHARE / DROPPED, 1, 1));
        assert!(seen.digests.capacity() < SHARE / 4, "{}", seen.digests.capacity());
    }

    #[test]
    fn of_equal_proofs_at_the_same_time_one_is_good() {
        let table = ReplayTable::default();
        let good: usize = std::thread::scope(|scope| {
            let threads = [(); 8].map(|()| scope.spawn(|| usize::from(enter(&table, "a", "1", (100, 161)).is_ok())));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(good, 1);
    }
}
