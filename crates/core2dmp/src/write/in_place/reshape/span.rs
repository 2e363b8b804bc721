//! Stretches of a file, which of them hold data, and how far an interrupted shift has come.
//!
//! ```text
//! wide     | before | range | A  B  C  D |      a collapse goes down, an insert up
//! torn     | before | A  B  | range |  C  D |   as long as wide: the file system moves extent by extent
//! narrow   | before | A  B  C  D |
//! ```
//!
//! Source: Linux, `ext4_collapse_range`, `ext4_insert_range` (`fs/ext4/extents.c`), `xfs_collapse_file_space`,
//! `xfs_insert_file_space` (`fs/xfs/xfs_bmap_util.c`): a file system may commit its own journal between two extents.
//! A collapse shortens the file after the last extent has moved, an insert makes it longer before the first one does.
//! A program that is killed does not tear a shift, a power cut does.

/// Consecutive bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl Span {
    pub(super) const fn new(at: u64, bytes: u64) -> Self {
        Self { at, bytes }
    }

    /// From `at` to `end`.
    pub(super) const fn between(at: u64, end: u64) -> Self {
        Self::new(at, end.saturating_sub(at))
    }

    pub(super) const fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes)
    }
}

/// Where a file has data, ascending; holes between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DataMap(pub(super) Vec<Span>);

impl DataMap {
    /// Appends a stretch behind all others.
    pub(super) fn push(&mut self, span: Span) {
        if span.bytes == 0 {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.end() == span.at
        {
            last.bytes = last.bytes.saturating_add(span.bytes);
            return;
        }
        self.0.push(span);
    }

    /// What of it lies in `window`, moved so that the window begins at `to`.
    pub(super) fn cut(&self, window: Span, to: u64) -> Self {
        let mut cut = Self::default();
        for span in &self.0 {
            let at = span.at.max(window.at);
            let bytes = span.end().min(window.end()).saturating_sub(at);
            let at = to.saturating_add(at.saturating_sub(window.at));
            cut.push(Span::new(at, bytes));
        }
        cut
    }

    /// The first byte that is data here and none in `other`.
    fn first_beyond(&self, other: &Self) -> Option<u64> {
        let mut others = other.0.iter().peekable();
        for span in &self.0 {
            let mut at = span.at;
            while at < span.end() {
                while others.next_if(|other| other.end() <= at).is_some() {}
                match others.peek() {
                    Some(other) if other.at <= at => at = other.end(),
                    _ => return Some(at),
                }
            }
        }
        None
    }
}

/// A shift, and the data that it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moving {
    /// The range that goes or comes.
    pub(super) range: Span,
    /// Bytes of the file that has it.
    pub(super) wide: u64,
    /// Data behind the range's beginning, where it is without the range.
    pub(super) narrow: DataMap,
}

/// How far a shift has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The range is in the file, whatever is in it.
    Wide,
    /// The file is as long as if it were, and a hole of its length is here.
    Torn(u64),
    /// Everything has moved, and the file is still as long.
    Uncut,
    /// The range is not in the file.
    Narrow,
}

impl Moving {
    /// Bytes of the file without the range.
    pub(super) const fn narrow_size(&self) -> u64 {
        self.wide.saturating_sub(self.range.bytes)
    }

    /// Where a file of `size` bytes with data at `map` is; `None` if it is not this shift's file.
    pub(super) fn place(&self, size: u64, map: &DataMap) -> Option<Place> {
        if size == self.narrow_size() {
            return Some(Place::Narrow);
        }
        if size != self.wide {
            return None;
        }
        let (from, bytes, end) = (self.range.at, self.range.bytes, self.narrow_size());
        let holds = |here: u64, end: u64, narrow_at: u64| {
            let window = Span::between(here, end);
            let moved = Span::new(narrow_at, window.bytes);
            map.cut(window, 0) == self.narrow.cut(moved, 0)
        };
        let behind = |at: u64| holds(at.saturating_add(bytes), self.wide, at);
        if behind(from) {
            return Some(Place::Wide);
        }
        let now = map.cut(Span::between(from, end), from);
        let hole = self.narrow.first_beyond(&now);
        let at = hole.unwrap_or(end);
        let gap = Span::new(at, bytes);
        let fits = holds(from, at, from) && map.cut(gap, 0).0.is_empty() && behind(at);
        let torn = hole.map_or(Place::Uncut, Place::Torn);
        fits.then_some(torn)
    }

    /// Whether a torn shift could look like one that has not begun: the holes behind the range repeat with its length.
    /// Such a shift is not begun.
    pub(super) fn is_ambiguous(&self) -> bool {
        let (from, bytes, end) = (self.range.at, self.range.bytes, self.narrow_size());
        // Behind the range, as it is with the range and without it.
        let first = self.range.end();
        let wide = self.narrow.cut(Span::between(from, end), first);
        let narrow = self.narrow.cut(Span::between(first, end), first);
        // The only place where a torn shift can hide: the first difference.
        let at = match (narrow.first_beyond(&wide), wide.first_beyond(&narrow)) {
            (Some(narrow), Some(wide)) if narrow < wide => narrow,
            (Some(narrow), None) => narrow,
            _ => return false,
        };
        let gap_is_hole = wide.cut(Span::new(at, bytes), 0).0.is_empty();
        let moved_any = !self.narrow.cut(Span::between(from, at), 0).0.is_empty();
        gap_is_hole && moved_any
    }
}
