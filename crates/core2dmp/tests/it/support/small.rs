//! Cores written by hand that are small enough to be held in memory.

use std::io::Cursor;

use super::hand::Hand;

impl Hand {
    /// An HVM core with one vCPU of zeros whose page i is frame `pfns[i]`, filled with the byte i.
    pub(crate) fn new(pfns: &[u64]) -> Self {
        let pages: Vec<u8> = (0..pfns.len()).flat_map(|i| [i as u8; 4096]).collect();
        let table = pfns.iter().flat_map(|pfn| pfn.to_le_bytes()).collect();
        let mut hand = Self::sparse(pfns.len() as u64);
        hand.part(".xen_pages").data = pages;
        hand.part(".xen_pfn").data = table;
        hand
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        self.write(&mut file);
        file.into_inner()
    }
}
