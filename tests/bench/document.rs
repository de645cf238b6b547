//! What the document of the tool that this one replaces says that it took, over the internet.

/// One of its two ways.
pub(crate) struct Said {
    pub(crate) name: &'static str,
    /// Books and time.
    times: [(u32, &'static str); 6],
}

pub(crate) const SAID: [Said; 2] = [
    Said {
        name: "the old tool's Original, says its document",
        times: [
            (100, "~10 s"),
            (357, "35-70 s"),
            (500, "~50 s"),
            (1_000, "~100 s"),
            (5_000, "~500 s"),
            (10_000, "~1000 s"),
        ],
    },
    Said {
        name: "the old tool's Enhanced, says its document",
        times: [
            (100, "~1 s"),
            (357, "3-5 s"),
            (500, "~3 s"),
            (1_000, "~5 s"),
            (5_000, "~25 s"),
            (10_000, "~50 s"),
        ],
    },
];

impl Said {
    pub(crate) fn time(&self, books: u32) -> &'static str {
        self.times.iter().find(|(said, _)| *said == books).map_or("", |(_, time)| time)
    }
}
