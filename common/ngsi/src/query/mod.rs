//! Query languages, evaluated against entities.
//!
//! All of them are bounded in length and depth, and each evaluation takes time linear in the query and the value that
//! it looks at: regular expressions are those of the `regex` crate, without backtracking.

mod expression;
mod geo;
mod pattern;
mod q;
mod q_parser;
mod scope;
mod string_query;
mod types;

pub use self::geo::{GeoQuery, Georel};
pub use pattern::pattern;
pub use q::{Dialect, Query};
pub use scope::ScopeQuery;
pub use string_query::StringQuery;
pub use types::TypeQuery;

/// Longest accepted query in bytes.
pub(crate) const MAX_LENGTH: usize = 8192;
