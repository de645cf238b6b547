//! One sync as it was called: what every step before the run is given.

use super::ask::Ask;
use super::context::Context;
use super::request::{Request, Tuning};
use crate::preflight::Sides;

/// One sync as it was called.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The two databases.
    pub sides: &'a Sides,
    /// What the flags say.
    pub request: &'a Request,
    /// Answers the questions that only a person can answer.
    pub ask: &'a dyn Ask,
    /// Retries, cancellation and progress.
    pub context: Context<'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn tuning(&self) -> &'a Tuning {
        &self.request.tuning
    }
}
