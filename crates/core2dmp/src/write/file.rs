//! Writes segments into a file, each in the fastest way available.

use std::fs::File;

use super::job::{Failure, STEP, advance, write_all_at};
use super::page_cache::{CacheUse, WriteBack};
use super::{copy, decoded, sparse};
use crate::address::PAGE_SIZE;
use crate::image::{Segment, SegmentData};
use crate::memory::PhysicalMemory;
use crate::progress::Progress;
use crate::source::{data_at, hole_at};

/// Bytes that one set of threads copies.
const SPARSE_STEP: u64 = 256 << 20;

/// Writes segments one behind the other.
pub(super) struct FileWriter<'a> {
    pub(super) memory: &'a PhysicalMemory,
    pub(super) file: &'a File,
    /// Where the next segment begins.
    pub(super) at: u64,
    pub(super) progress: &'a dyn Progress,
    pub(super) buffer: Vec<u8>,
    pub(super) damage: decoded::Damage<'a>,
    /// Leave zero pages out.
    pub(super) sparse: bool,
    pub(super) cache: CacheUse,
    pub(super) write_back: WriteBack,
}

impl FileWriter<'_> {
    pub(super) fn segment(&mut self, segment: &Segment) -> Result<(), Failure> {
        match &segment.data {
            SegmentData::Bytes(bytes) => {
                write_all_at(self.file, self.at, bytes)?;
                self.moved(segment.bytes)
            }
            SegmentData::Zeros => self.moved(segment.bytes),
            SegmentData::Source { offset } => self.copy(*offset, segment.bytes),
            SegmentData::Encoded { index } => self.decode(*index, segment.bytes / PAGE_SIZE),
        }
    }

    /// Writes the pages that are not zero.
    fn decode(&mut self, index: u64, pages: u64) -> Result<(), Failure> {
        let (file, progress) = (self.file, self.progress);
        let (at, write_back) = (&mut self.at, &mut self.write_back);
        decoded::in_order(&mut self.damage, index, pages, &mut |block| {
            let start = *at;
            for (skipped, stretch) in decoded::stretches(block) {
                write_all_at(file, start.saturating_add(skipped), stretch)?;
            }
            write_back.wrote(file, start.saturating_add(block.len() as u64));
            advance(progress, at, block.len() as u64)
        })
    }

    /// Copies what the source stores; what it has as holes stays one.
    fn copy(&mut self, from: u64, bytes: u64) -> Result<(), Failure> {
        let end = from.saturating_add(bytes);
        let source = &**self.memory.source();
        let mut from = from;
        while from < end {
            let hole = hole_at(source, from).min(end.saturating_sub(from));
            if hole > 0 {
                from = from.saturating_add(hole);
                self.moved(hole)?;
                continue;
            }
            let data = data_at(source, from).min(end.saturating_sub(from));
            if self.sparse {
                let data = data.min(SPARSE_STEP);
                let (file, progress) = (self.file, self.progress);
                let (at, write_back) = (&mut self.at, &mut self.write_back);
                let start = *at;
                sparse::copy(source, from, file, start, data, write_back, &mut |bytes| {
                    advance(progress, at, bytes)
                })?;
                from = from.saturating_add(data);
                let output = (self.file, self.at);
                self.cache.copied(source, from, Some(output), data);
                continue;
            }
            let step = data.min(STEP);
            let moved = copy::copy_range(source, from, self.file, self.at, step, &mut self.buffer)?;
            from = from.saturating_add(moved);
            self.moved(moved)?;
            let output = (self.file, self.at);
            self.cache.copied(source, from, Some(output), moved);
        }
        Ok(())
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Failure> {
        self.write_back
            .wrote(self.file, self.at.saturating_add(bytes));
        advance(self.progress, &mut self.at, bytes)
    }
}
