//! One module for each command.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod delete;
pub(crate) mod docs;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod token;
