//! A cache of decoded blocks, so that reading the next page of a block does not decode it again.
//!
//! ```text
//! number of a block, modulo the slots  -->  slot: the last block that was kept there
//! ```
//!
//! The number of slots bounds the memory. Each has a lock of its own: threads that read different blocks rarely meet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots for blocks, each found again by its number.
#[derive(Debug)]
pub(crate) struct BlockCache<B> {
    slots: Vec<Mutex<Option<Arc<B>>>>,
}

impl<B> BlockCache<B> {
    /// A cache of this many blocks, at least one.
    pub(crate) fn new(slots: u64) -> Self {
        Self {
            slots: (0..slots.max(1)).map(|_| Mutex::new(None)).collect(),
        }
    }

    fn slot(&self, number: u64) -> Option<MutexGuard<'_, Option<Arc<B>>>> {
        let index = number.checked_rem(self.slots.len() as u64)?;
        let slot = self.slots.get(usize::try_from(index).ok()?)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The block in the slot of `number`, if it is the one that is wanted.
    pub(crate) fn find(&self, number: u64, is_wanted: impl Fn(&B) -> bool) -> Option<Arc<B>> {
        let kept = self.slot(number)?.clone()?;
        is_wanted(&kept).then_some(kept)
    }

    /// Keeps a block in the slot of `number`, in the place of another.
    pub(crate) fn keep(&self, number: u64, block: &Arc<B>) {
        if let Some(mut slot) = self.slot(number) {
            *slot = Some(Arc::clone(block));
        }
    }

    /// The block in the slot of `number` if it is the one that is wanted, or the one that `make` makes. Other threads
    /// that want it wait for it instead of making it, too; `make` must not use this cache.
    pub(crate) fn find_or_make<E>(
        &self,
        number: u64,
        is_wanted: impl Fn(&B) -> bool,
        make: impl FnOnce() -> Result<B, E>,
    ) -> Result<Arc<B>, E> {
        let Some(mut slot) = self.slot(number) else {
            return make().map(Arc::new);
        };
        if let Some(kept) = slot.as_ref().filter(|kept| is_wanted(kept)) {
            return Ok(Arc::clone(kept));
        }
        let made = Arc::new(make()?);
        *slot = Some(Arc::clone(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a block of its number, and counts.
    fn make(cache: &BlockCache<u64>, number: u64, made: &mut u64) -> Arc<u64> {
        let block = cache.find_or_make(
            number,
            |kept| *kept == number,
            || {
                *made += 1;
                Ok::<_, ()>(number)
            },
        );
        block.unwrap()
    }

    #[test]
    fn a_block_is_made_once_until_another_takes_its_slot() {
        let (cache, mut made) = (BlockCache::new(4), 0);
        for number in [1, 2, 1, 2, 5, 1] {
            assert_eq!(*make(&cache, number, &mut made), number);
        }
        // 1 and 5 share a slot.
        assert_eq!(made, 4);
        assert_eq!(cache.find(2, |kept| *kept == 2).as_deref(), Some(&2));
        assert_eq!(cache.find(5, |kept| *kept == 5), None);
        cache.keep(9, &Arc::new(5));
        assert_eq!(cache.find(5, |kept| *kept == 5).as_deref(), Some(&5));
    }

    #[test]
    fn what_cannot_be_made_is_not_kept() {
        let cache = BlockCache::<u64>::new(0);
        assert_eq!(
            cache.find_or_make(3, |_| true, || Err("broken")),
            Err("broken")
        );
        assert_eq!(cache.find(3, |_| true), None);
    }

    #[test]
    fn threads_that_want_one_block_make_it_once() {
        let cache = BlockCache::new(2);
        let made = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let block = cache.find_or_make(
                        7,
                        |kept| *kept == 7,
                        || {
                            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            std::thread::sleep(std::time::Duration::from_millis(5));
                            Ok::<_, ()>(7_u64)
                        },
                    );
                    assert_eq!(block.as_deref(), Ok(&7));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
