//! What goes to a server and comes back, for who wants to know what a slow line would be charged for.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm::sea_query::OptionEnum;
use sea_orm::{Value, Values};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// Counts of one server, since the start. Bytes are those of statements, parameters, values and COPY data, without the
/// protocol's frames and names; connecting is no round trip here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were waited for.
    pub round_trips: u64,
    /// To the server.
    pub bytes_sent: u64,
    /// From the server.
    pub bytes_received: u64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            round_trips: self.round_trips - earlier.round_trips,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
        }
    }
}

/// The counts of a server that is in use.
#[derive(Debug, Default)]
pub(super) struct Counter {
    round_trips: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counter {
    /// A request that takes so many round trips.
    pub(super) fn sent(&self, round_trips: u64, bytes: usize) {
        self.round_trips.fetch_add(round_trips, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// An answer, or a part of one.
    pub(super) fn received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn counted(&self) -> Traffic {
        let [round_trips, bytes_sent, bytes_received] =
            [&self.round_trips, &self.bytes_sent, &self.bytes_received]
                .map(|count| count.load(Ordering::Relaxed));
        Traffic { round_trips, bytes_sent, bytes_received }
    }
}

/// Bytes of a row's values.
pub(super) fn row_bytes(row: &PgRow) -> usize {
    let bytes = |at| row.try_get_raw(at).ok()?.as_bytes().ok().map(<[u8]>::len);
    (0..row.len()).filter_map(bytes).sum()
}

/// Bytes of parameters, in the form in which they travel.
pub(super) fn values_bytes(Values(values): &Values) -> usize {
    values.iter().map(value_bytes).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_ref().map_or(0, String::len),
        Value::Enum(OptionEnum::Some(name)) => name.value.len(),
        Value::Array(_, Some(values)) => {
            values.iter().map(|value| size_of::<i32>() + value_bytes(value)).sum()
        }
        Value::Bool(Some(_)) => size_of::<bool>(),
        Value::Int(Some(_)) => size_of::<i32>(),
        Value::BigInt(Some(_)) | Value::ChronoDateTime(Some(_)) => size_of::<i64>(),
        _ => 0,
    }
}
