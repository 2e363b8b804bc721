//! A machine that writes down every store, and Windows as it makes headers on it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use guest_record::{Clock, Machine, PAGE_BYTES, PAGES, StopCode, Width};

pub(crate) const GPA: u64 = 0x1234_5000;
pub(crate) const GVA: u64 = 0xffff_8000_1234_5000;
pub(crate) const BLOCK_AT: u64 = 0xffff_f800_0400_1000;

/// What the machine's Windows does when it is asked for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Makes {
    /// A header for a full dump.
    Full,
    /// A header of this type, with success.
    OfType(u32),
    /// Half of a header, and a status.
    Half(i32),
    /// Nothing but the status.
    Nothing(i32),
}

pub(crate) struct Lab {
    pub(crate) words: Vec<AtomicU64>,
    /// Each store: offset and value.
    pub(crate) stores: Mutex<Vec<(u32, u64)>>,
    pub(crate) makes: Mutex<Makes>,
    pub(crate) width: Width,
    pub(crate) pages_of_memory: AtomicU32,
    pub(crate) stop: Mutex<Option<StopCode>>,
    pub(crate) calls: AtomicI32,
    clock: AtomicU64,
}

impl Lab {
    pub(crate) fn new(width: Width) -> Self {
        let words = (PAGES * PAGE_BYTES) / 8;
        Self {
            // What was in the pages before is anything.
            words: (0..u64::from(words))
                .map(|n| AtomicU64::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect(),
            stores: Mutex::new(Vec::new()),
            makes: Mutex::new(Makes::Full),
            width,
            pages_of_memory: AtomicU32::new(0x8000),
            stop: Mutex::new(None),
            calls: AtomicI32::new(0),
            clock: AtomicU64::new(1_000_000),
        }
    }

    pub(crate) fn will(&self, makes: Makes) {
        *self.makes.lock().unwrap() = makes;
    }

    pub(crate) fn crashes(&self, code: u32) {
        *self.stop.lock().unwrap() = Some(StopCode {
            code,
            parameters: [1, 2, 3, u64::from(code)],
        });
    }

    pub(crate) fn put_block(&self) {
        for n in 0..0x340_u32 / 8 {
            self.store(PAGE_BYTES + n * 8, u64::from(n) << 32 | 0xb10c);
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = self.words.iter();
        words
            .flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes())
            .collect()
    }

    pub(crate) fn stores(&self) -> usize {
        self.stores.lock().unwrap().len()
    }

    /// Takes back every store from the `count`th on: the guest died there.
    pub(crate) fn memory_after(&self, start: &[u8], from: usize, count: usize) -> Vec<u8> {
        let mut memory = start.to_vec();
        for (at, value) in &self.stores.lock().unwrap()[from..from + count] {
            let at = *at as usize;
            memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        memory
    }

    /// The header that Windows makes now, filled with PAGE as Windows does.
    pub(crate) fn header(&self, dump_type: u32) -> Vec<u8> {
        let bits64 = self.width == Width::Bits64;
        let size = if bits64 { 0x2000 } else { 0x1000 };
        let mut header: Vec<u8> = b"PAGE".repeat(size / 4);
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        let pages = self.pages_of_memory.load(Ordering::SeqCst);
        let stop = self.stop.lock().unwrap().unwrap_or_default();
        let time = self.clock.load(Ordering::SeqCst);
        if bits64 {
            put(4, b"DU64");
            put(0x30, &0x8664_u32.to_le_bytes());
            put(0x38, &stop.code.to_le_bytes());
            for (n, value) in stop.parameters.iter().enumerate() {
                put(0x40 + n * 8, &value.to_le_bytes());
            }
            put(0x80, &BLOCK_AT.to_le_bytes());
            put(0x88, &1_u32.to_le_bytes());
            put(0x90, &u64::from(pages).to_le_bytes());
            put(0x98, &1_u64.to_le_bytes());
            put(0xa0, &u64::from(pages).to_le_bytes());
            put(0xf98, &dump_type.to_le_bytes());
            put(0xfa8, &time.to_le_bytes());
        } else {
            put(4, b"DUMP");
            put(0x20, &0x14c_u32.to_le_bytes());
            put(0x28, &stop.code.to_le_bytes());
            for (n, value) in stop.parameters.iter().enumerate() {
                put(0x2c + n * 4, &value.to_le_bytes()[..4]);
            }
            put(0x60, &BLOCK_AT.to_le_bytes()[..4]);
            put(0x64, &1_u32.to_le_bytes());
            put(0x68, &pages.to_le_bytes());
            put(0x6c, &1_u32.to_le_bytes());
            put(0x70, &pages.to_le_bytes());
            put(0xf88, &dump_type.to_le_bytes());
            put(0xfc0, &time.to_le_bytes());
        }
        header
    }
}

impl Machine for Lab {
    fn make_header(&self, place: u32, bytes: u32) -> i32 {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let makes = *self.makes.lock().unwrap();
        let (dump_type, part, status) = match makes {
            Makes::Full => (1, 1, 0),
            Makes::OfType(kind) => (kind, 1, 0),
            Makes::Half(status) => (1, 2, status),
            Makes::Nothing(status) => return status,
        };
        let header = self.header(dump_type);
        assert_eq!(header.len(), bytes as usize);
        for (n, word) in header[..header.len() / part].chunks_exact(8).enumerate() {
            let at = place + u32::try_from(n * 8).unwrap();
            self.store(at, u64::from_le_bytes(word.try_into().unwrap()));
        }
        status
    }

    fn load(&self, offset: u32) -> u64 {
        assert_eq!(offset % 8, 0);
        self.words[offset as usize / 8].load(Ordering::SeqCst)
    }

    fn store(&self, offset: u32, value: u64) {
        assert_eq!(offset % 8, 0);
        self.words[offset as usize / 8].store(value, Ordering::SeqCst);
        self.stores.lock().unwrap().push((offset, value));
    }

    fn fence(&self) {}

    fn clock(&self) -> Clock {
        let now = self.clock.fetch_add(10, Ordering::SeqCst);
        Clock {
            system: 0x01dd_0000_0000_0000 + now,
            interrupt: now,
        }
    }

    fn stop_code(&self) -> Option<StopCode> {
        *self.stop.lock().unwrap()
    }
}
