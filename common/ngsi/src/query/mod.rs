//! Query languages, evaluated against entities.

mod string_query;

pub use string_query::StringQuery;
