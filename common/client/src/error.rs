//! How a call fails.

/// Why a call did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No complete answer came: refused, cut, or out of time. Whether the request was applied is unknown.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// What was called.
        url: String,
        /// Why.
        reason: String,
    },
    /// The service answered that it did not do it.
    #[error("{url} answers {status}: {message}")]
    Status {
        /// What was called.
        url: String,
        /// HTTP status.
        status: u16,
        /// The service's words, taken out of its JSON where it has one.
        message: String,
    },
    /// The answer is not what this client understands.
    #[error("{url} gives an unexpected answer: {reason}")]
    Body {
        /// What was called.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Status { status, .. } => Some(*status),
            ClientError::Unreachable { .. } | ClientError::Body { .. } => None,
        }
    }

    /// Whether no complete answer came.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ClientError::Unreachable { .. })
    }

    /// Whether the same request may succeed later: no answer, 429, or a server error.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Status { status, .. } => *status == 429 || *status >= 500,
            ClientError::Body { .. } => false,
        }
    }
}
