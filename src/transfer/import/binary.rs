//! Rows of a binary COPY.

/// A whole binary COPY, but for its end.
pub struct Binary {
    pub(super) rows: u64,
    pub(super) bytes: Vec<u8>,
}

impl Binary {
    pub(crate) fn new() -> Self {
        Self { rows: 0, bytes: HEADER.to_vec() }
    }
}

/// What a binary COPY begins with, the flags and the empty extension of its header included.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with, in place of a row's number of columns.
pub(crate) const TRAILER: &[u8] = b"\xff\xff";
