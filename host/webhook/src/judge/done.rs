//! What one request is answered.

use http::StatusCode;

use crate::{Malformed, intake::Unread};

/// An answer, and what is counted of it.
pub(super) struct Done {
    pub(super) outcome: &'static str,
    pub(super) code: StatusCode,
    pub(super) body: Vec<u8>,
    /// The request was not read to its end, so the connection ends with the answer.
    pub(super) unread: bool,
}

impl Done {
    pub(super) fn json(outcome: &'static str, body: Vec<u8>) -> Self {
        Self { outcome, code: StatusCode::OK, body, unread: false }
    }

    fn text(outcome: &'static str, code: StatusCode, text: &str) -> Self {
        Self { outcome, code, body: text.to_owned().into_bytes(), unread: false }
    }

    /// An answer to a request whose body nobody wants.
    pub(super) fn unasked(outcome: &'static str, code: StatusCode, text: &str) -> Self {
        Self { unread: true, ..Self::text(outcome, code, text) }
    }

    /// An answer to a request whose body is not taken.
    pub(super) fn unread(why: &Unread) -> Self {
        let (outcome, code) = match why {
            Unread::TooLarge { .. } => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Unread::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Unread::Late => ("late", StatusCode::REQUEST_TIMEOUT),
            Unread::Broken => ("malformed", StatusCode::BAD_REQUEST),
        };
        Self::unasked(outcome, code, &why.to_string())
    }

    pub(super) fn malformed(why: &Malformed) -> Self {
        Self::text("malformed", StatusCode::BAD_REQUEST, &why.to_string())
    }
}
